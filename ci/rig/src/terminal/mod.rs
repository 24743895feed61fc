//! A reference terminal: a machine of QEMU with Debian's U-Boot, its disk in a file.

mod console;
pub mod fault;
mod hardware;
pub mod limit;
pub mod line;
mod noise;
mod qemu;
mod qmp;
mod shell;

pub use console::{Console, Mark};
pub use hardware::{Hardware, Service, Storage};
pub use shell::Shell;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{ensure, Context, Result};

use crate::disk::Disk;
use crate::pki::Identity;
use crate::port::free_port;
use crate::process::{run, tool, Process};
use crate::wait;

use fault::Fault;

/// A terminal, on or off.
#[derive(Debug)]
pub struct Terminal {
    folder: PathBuf,
    disk: Disk,
    hardware: Hardware,
    port: u16,
    console: Console,
    running: Option<Running>,
}

/// A running terminal.
#[derive(Debug)]
struct Running {
    process: Process,
    qmp: PathBuf,
    _sockets: tempfile::TempDir,
}

impl Terminal {
    /// Makes a terminal as it leaves the factory, off, with `image` and the identity on its disk.
    /// All its files are in the new folder `folder`.
    pub fn new(
        folder: &Path,
        image: &Disk,
        identity: &Identity,
        hardware: Hardware,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let disk = image.copy_to(&folder.join("disk.img"))?;
        let provision = crate::places::repository().join("factory/provision");
        run(tool(provision).arg(disk.path()).arg(identity.folder()))?;
        Self::with_disk(folder, disk, hardware)
    }

    /// Makes a terminal with this disk, off; its logs go to the existing `folder`.
    pub fn with_disk(folder: &Path, disk: Disk, hardware: Hardware) -> Result<Self> {
        Ok(Terminal {
            folder: folder.to_owned(),
            disk,
            hardware,
            port: free_port()?,
            console: Console::new(&folder.join("console.log"))?,
            running: None,
        })
    }

    /// Sets the clock for the following power-ons; `None`: the right time.
    pub fn set_clock(&mut self, clock: Option<&str>) {
        self.hardware.clock = clock.map(str::to_owned);
    }

    /// Sets the disk's faults for the following power-ons.
    pub fn set_faults(&mut self, faults: &[Fault]) -> Result<()> {
        self.hardware.storage = match faults.is_empty() {
            true => Storage::Plain,
            false => {
                let rules = self.folder.join("faults.conf");
                std::fs::write(&rules, faults.iter().map(Fault::rules).collect::<String>())?;
                Storage::Failing(rules)
            }
        };
        Ok(())
    }

    /// Returns the disk; fails while the terminal is on, as the file is then in use.
    pub fn disk(&self) -> Result<&Disk> {
        ensure!(
            self.running.is_none(),
            "the terminal has power: its disk is in use"
        );
        Ok(&self.disk)
    }

    /// Returns the disk of a terminal that may be writing to it: for a look, nothing on it is whole.
    pub fn disk_in_use(&self) -> &Disk {
        &self.disk
    }

    /// Returns the serial console.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Returns this machine's port that leads to the application's port 2404.
    pub fn application_port(&self) -> u16 {
        self.port
    }

    /// Switches the terminal on.
    pub fn power_on(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "the terminal has power already");
        let sockets = tempfile::tempdir()?;
        let qmp = sockets.path().join("qmp");
        let args = qemu::arguments(&self.hardware, self.disk.path(), self.port, &qmp);
        let args: Vec<&OsStr> = args.iter().map(OsString::as_os_str).collect();
        let log = self.folder.join("qemu.log");
        let errors = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)?;
        let mut process = Process::start_with(
            "QEMU",
            Path::new(self.hardware.machine.emulator()),
            &args,
            &log,
            |command| {
                command
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(errors);
                Ok(())
            },
        )?;
        let id = process.id();
        let child = process.child();
        let output = child.stdout.take().context("QEMU's output is a pipe")?;
        let input = child.stdin.take().context("QEMU's input is a pipe")?;
        self.console.attach(id, input, output);
        if self.hardware.noise {
            self.console.make_noise();
        }
        self.running = Some(Running {
            process,
            qmp,
            _sockets: sockets,
        });
        Ok(())
    }

    fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().context("the terminal has no power")
    }

    /// Fails if the emulator has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.running()?.process.check()
    }

    /// Cuts the power.
    pub fn power_cut(&mut self) {
        if let Some(running) = self.running.take() {
            running.process.kill();
            self.console.detach();
        }
    }

    /// Shuts down the normal OS from its console.
    pub fn shut_down(&mut self) -> Result<()> {
        self.shell()?.start("poweroff")?;
        let running = self.running()?;
        running.process.wait(limit::COMMAND)?;
        self.power_cut();
        Ok(())
    }

    /// Logs in to a root shell on the console of the normal OS.
    pub fn shell(&mut self) -> Result<Shell<'_>> {
        self.check()?;
        Shell::log_in(&self.console)
    }

    /// Limits the disk's write speed from now on, so that a test can act during a write.
    pub fn slow_disk(&mut self, bytes_per_second: u64) -> Result<()> {
        qmp::Qmp::connect(&self.running()?.qmp)?.limit_writing(qemu::DISK, bytes_per_second)
    }

    /// Waits for `text` on the console after `mark`, and returns the rest of that line.
    pub fn wait_for(&mut self, mark: &mut Mark, text: &str, limit: Duration) -> Result<String> {
        let what = format!("'{text}' on the console");
        wait::until(&what, limit, || {
            let found = self.console.find(mark, text);
            if found.is_none() {
                self.check()?;
            }
            Ok(found)
        })
    }

    /// Waits until the application answers.
    pub fn wait_until_serving(&mut self) -> Result<()> {
        let port = self.port;
        wait::until("the application's answer to STARTDT", limit::BOOT, || {
            self.check()?;
            Ok(crate::iec104::startdt(port).ok())
        })
    }
}
