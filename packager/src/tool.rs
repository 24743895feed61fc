use std::process::{Command, Stdio};

/// Returns a command of e2fsprogs, without input and with English output. Its folder is often
/// missing from users' PATH.
pub fn tool(program: &str) -> Command {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let mut command = Command::new(program);
    command
        .env("LC_ALL", "C")
        .env("PATH", path)
        .stdin(Stdio::null());
    command
}
