//! Checks of the utility's own: executables in a folder.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;

/// So many bytes from the end of what a check says go into the result.
const TAIL: u64 = 512;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The executables of a folder, by name; a missing folder has none.
pub fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut list = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let metadata = fs::metadata(&path)?;
        if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
            list.push(path);
        }
    }
    list.sort();
    Ok(list)
}

/// Runs one; the error says how it failed and how its output ended.
pub fn run(path: &Path, timeout: Duration, log: &Path) -> Result<(), String> {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    let failed = |error: io::Error| format!("{name} cannot be run: {error}");
    log::info!("health check {name}");
    let output = File::create(log).map_err(failed)?;
    let errors = output.try_clone().map_err(failed)?;
    let mut child = Command::new(path)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let status = wait(&mut child, timeout).map_err(failed)?;
    let reason = match status {
        Some(status) if status.success() => return Ok(()),
        Some(status) => status.to_string(),
        None => format!("not done after {} s", timeout.as_secs()),
    };
    let tail = tail(log).unwrap_or_default();
    Err(format!("{name}: {reason}: {}", tail.trim()))
}

/// Waits for the end; kills it with all its children when the time is over.
fn wait(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= timeout {
            if let Ok(group) = i32::try_from(child.id()) {
                killpg(Pid::from_raw(group), Signal::SIGKILL)?;
            }
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(folder: &Path, name: &str, text: &str, mode: u32) {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_executables_run_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        script(dir.path(), "20-b", "", 0o755);
        script(dir.path(), "10-a", "", 0o755);
        script(dir.path(), "README", "", 0o644);
        let list = list(dir.path()).unwrap();
        let names: Vec<_> = list.iter().map(|path| path.file_name().unwrap()).collect();
        assert_eq!(names, ["10-a", "20-b"]);
        assert!(super::list(&dir.path().join("missing")).unwrap().is_empty());
    }

    #[test]
    fn a_failure_says_how_and_quotes_the_end_of_the_output() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let minute = Duration::from_secs(60);
        script(dir.path(), "good", "exit 0", 0o755);
        run(&dir.path().join("good"), minute, &log).unwrap();
        script(
            dir.path(),
            "bad",
            "echo relay 3 is stuck >&2; exit 4",
            0o755,
        );
        let reason = run(&dir.path().join("bad"), minute, &log).unwrap_err();
        assert!(reason.contains("bad") && reason.contains("4"), "{reason}");
        assert!(reason.contains("relay 3 is stuck"), "{reason}");
    }

    #[test]
    fn a_check_that_hangs_is_ended_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        script(dir.path(), "hangs", "sleep 1000 & echo $!; wait", 0o755);
        let log = dir.path().join("log");
        let reason = run(&dir.path().join("hangs"), Duration::from_millis(300), &log).unwrap_err();
        assert!(reason.contains("not done"), "{reason}");
        let child = fs::read_to_string(&log).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        // The kernel takes a moment to end it, and its new parent to collect it.
        let gone = || {
            fs::read_to_string(&stat)
                .ok()
                .is_none_or(|stat| stat.contains(") Z "))
        };
        let mut looks = 0..1000;
        while !gone() {
            assert!(looks.next().is_some(), "the child runs on");
            std::thread::sleep(LOOK_EVERY);
        }
    }
}
