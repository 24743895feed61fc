//! Child processes that never outlive their owner, and tools that run to their end.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{bail, Context, Result};

use crate::wait;

/// Folders of administrators' tools (debugfs, sfdisk, mosquitto), which may be missing from a
/// user's PATH.
const SBIN: &str = "/usr/sbin:/sbin:/usr/local/sbin";

/// Returns a command whose program is also searched where programs for root are.
pub fn tool(program: impl AsRef<OsStr>) -> Command {
    let program = program.as_ref();
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{path}:{SBIN}");
    // With the full path, the standard library need not fork this process, which is slow.
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file());
    let mut command = Command::new(found.unwrap_or_else(|| program.into()));
    command.env("PATH", path).env("LC_ALL", "C");
    command
}

/// Runs a command to its end; an error contains the command and its output.
pub fn run(command: &mut Command) -> Result<Output> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed ({}): {}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
    }
    Ok(output)
}

/// A running program. It is killed when this value is dropped or the thread that started it ends.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `program` with its output appended to `log`.
    pub fn start(name: &str, program: &Path, args: &[&OsStr], log: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log)?;
        Self::start_with(name, program, args, log, |command| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::from(file.try_clone()?))
                .stderr(Stdio::from(file));
            Ok(())
        })
    }

    /// Starts `program`; `prepare` sets its input and output.
    pub fn start_with(
        name: &str,
        program: &Path,
        args: &[&OsStr],
        log: &Path,
        prepare: impl FnOnce(&mut Command) -> Result<()>,
    ) -> Result<Self> {
        let mut command = tool("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args);
        prepare(&mut command)?;
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", program.display()))?;
        Ok(Process {
            name: name.to_owned(),
            log: log.to_owned(),
            child,
        })
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the child, to use its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Fails if the program has ended; the error shows the end of its log.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!(
                "{} ended ({status}), see {}: {}",
                self.name,
                self.log.display(),
                tail(&self.log, 5)
            ),
        }
    }

    /// Waits for the program to end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        wait::until(&what, limit, || Ok(self.child.try_wait()?))
    }

    /// Kills the program with SIGKILL.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns the last `count` lines of a file; empty if it cannot be read.
pub fn tail(path: &Path, count: usize) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
