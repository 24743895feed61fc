//! What every process expects to be there.

use std::fs::{self, OpenOptions};
use std::os::fd::AsFd;

use nix::mount::{mount, MsFlags};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

const CONSOLE: &str = "/dev/console";
/// Where the tools of RecoveryOS's image are.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Mounts the kernel's own file systems, and makes the console standard input and output. Nothing is logged: nobody
/// would hear it; what fails here shows in what fails next.
pub fn early() {
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    let mounts = [
        ("proc", "/proc", plain),
        ("sysfs", "/sys", plain),
        ("devtmpfs", "/dev", MsFlags::MS_NOSUID),
        ("tmpfs", "/run", MsFlags::MS_NOSUID | MsFlags::MS_NODEV),
        ("tmpfs", "/tmp", MsFlags::MS_NOSUID | MsFlags::MS_NODEV),
    ];
    for (file_system, target, flags) in mounts {
        let _ = fs::create_dir_all(target);
        // EBUSY: the kernel was built to mount /dev itself.
        let _ = mount(
            Some(file_system),
            target,
            Some(file_system),
            flags,
            None::<&str>,
        );
    }
    if let Ok(console) = OpenOptions::new().read(true).write(true).open(CONSOLE) {
        let _ = dup2_stdin(console.as_fd());
        let _ = dup2_stdout(console.as_fd());
        let _ = dup2_stderr(console.as_fd());
    }
    std::env::set_var("PATH", PATH);
}

/// Sets one of the kernel's settings; a kernel without it goes on without.
pub fn write_setting(path: &str, value: &str) {
    if let Err(error) = fs::write(path, value) {
        log::debug!("{path}: {error}");
    }
}
