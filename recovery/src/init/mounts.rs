//! Basic mounts that every process expects.

use std::fs::{self, OpenOptions};
use std::os::fd::AsFd;

use nix::mount::{mount, MsFlags};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

const CONSOLE: &str = "/dev/console";
/// The folders of programs in RecoveryOS's image.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Mounts the kernel's own file systems, and makes the console standard input and output. Nothing
/// is logged yet; a failure here shows in later failures.
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
        // EBUSY: the kernel mounted /dev itself.
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

/// Writes one of the kernel's settings; ignores errors, as a kernel may lack it.
pub fn write_setting(path: &str, value: &str) {
    if let Err(error) = fs::write(path, value) {
        log::debug!("{path}: {error}");
    }
}
