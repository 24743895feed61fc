//! A reference terminal: QEMU's arm64 virt machine with Debian's U-Boot, its disk in a file.

mod console;
pub mod fault;
mod qmp;
mod shell;

pub use console::{Console, Mark};

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{ensure, Context, Result};

use serde_json::json;

use crate::disk::Disk;
use crate::pki::{Identity, STATION_HOST};
use crate::process::{free_port, run, tool, Process};
use crate::wait;

use fault::Fault;

const QEMU: &str = "qemu-system-aarch64";
/// As the name of the disk in QEMU's monitor.
const DISK: &str = "disk";
/// IEC 60870-5-104.
const APPLICATION_PORT: u16 = 2404;
/// This machine in QEMU's user network, where [`STATION_HOST`] leads elsewhere.
const OTHER_HOST: &str = "10.0.2.99";
/// Memory of the smallest terminals that are in mind.
const MEMORY_MIB: &str = "256";

/// Console lines that others print, each in one place.
pub mod line {
    /// boot.cmd starts the normal OS; kernel slot and reason follow.
    pub const NORMAL: &str = "dau: booting normal OS";
    /// boot.cmd starts RecoveryOS; slot and reason follow.
    pub const RECOVERY: &str = "dau: booting RecoveryOS";
    /// U-Boot starts a new RecoveryOS, which checks itself.
    pub const CHECK: &str = "dau: booting RecoveryOS, slot b (check)";
    /// RecoveryOS has nothing left to do.
    pub const STUCK: &str = "nothing can be done now; looking";
    /// dau-recovery verifies a package.
    pub const VERIFYING: &str = "verifying ";
    /// dau-recovery begins to write a kernel slot.
    pub const WRITING_KERNEL: &str = "writing kernel-";
    /// The kernel slot was written and read back; the root filesystem is next, if the job has one.
    pub const KERNEL_WRITTEN: &str = "write-kernel: ";
    /// The root filesystem was written and read back.
    pub const ROOTFS_WRITTEN: &str = "write-rootfs: ";
    /// The parameters were put back.
    pub const RESTORED: &str = "restore: ";
    /// The boot state was committed.
    pub const COMMITTED: &str = "committed: ";
    /// dau-recovery's largest resident memory; KiB follow.
    pub const PEAK_MEMORY: &str = "peak memory: ";
}

/// Time limits of an emulated terminal, generous: a busy machine is slow.
pub mod limit {
    use std::time::Duration;

    /// From power on to U-Boot's decision.
    pub const U_BOOT: Duration = Duration::from_secs(60);
    /// From power on to a serving application.
    pub const BOOT: Duration = Duration::from_secs(300);
    /// A command on the console.
    pub const COMMAND: Duration = Duration::from_secs(120);
    /// A whole job.
    pub const JOB: Duration = Duration::from_secs(900);
}

/// How a terminal is built.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// The bootloader.
    pub u_boot: PathBuf,
    /// What the clock says at every power-on, such as `1970-01-01T00:00:00`; `None`: the right time.
    pub clock: Option<String>,
    /// What is done about its disk.
    pub storage: Storage,
    /// Ports of [`crate::pki::STATION_HOST`] that lead to a program on this machine; empty: all lead to the same ports of
    /// this machine.
    pub services: Vec<Service>,
}

impl Hardware {
    /// With the right time and nothing special about its disk and network.
    pub fn new(u_boot: PathBuf) -> Self {
        Hardware {
            u_boot,
            clock: None,
            storage: Storage::default(),
            services: Vec::new(),
        }
    }
}

/// What QEMU does about a terminal's disk.
#[derive(Debug, Clone, Default)]
pub enum Storage {
    /// Nothing special.
    #[default]
    Plain,
    /// Flushes are not passed on to this machine's disk: nothing is lost when QEMU is killed, only when this machine is.
    Unflushed,
    /// The same, and every write and flush is recorded in this file by QEMU's driver blklogwrites.
    Recorded(PathBuf),
    /// Sectors that are bad, by QEMU's driver blkdebug: the file of its rules, too many for a command line.
    Failing(PathBuf),
}

/// A port that the terminal may connect to: a program on this machine speaks to it on standard input and output, one
/// for every connection.
#[derive(Debug, Clone)]
pub struct Service {
    /// The port that the terminal knows.
    pub port: u16,
    /// Program and arguments, separated by blanks.
    pub command: String,
}

/// A terminal.
#[derive(Debug)]
pub struct Terminal {
    folder: PathBuf,
    disk: Disk,
    hardware: Hardware,
    port: u16,
    console: Console,
    machine: Option<Machine>,
}

/// A terminal that has power.
#[derive(Debug)]
struct Machine {
    process: Process,
    qmp: PathBuf,
    _sockets: tempfile::TempDir,
}

impl Terminal {
    /// A terminal as it leaves the factory: `image` on its disk, and its identity. It has no power yet. Everything of it
    /// is in `folder`, which is created.
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

    /// A terminal with this disk; its log goes to `folder`, which exists.
    pub fn with_disk(folder: &Path, disk: Disk, hardware: Hardware) -> Result<Self> {
        Ok(Terminal {
            folder: folder.to_owned(),
            disk,
            hardware,
            port: free_port()?,
            console: Console::new(&folder.join("console.log"))?,
            machine: None,
        })
    }

    /// What the clock says from the next power-on on; `None`: the right time.
    pub fn set_clock(&mut self, clock: Option<&str>) {
        self.hardware.clock = clock.map(str::to_owned);
    }

    /// What is wrong with the disk from the next power-on on.
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

    /// The disk; only while there is no power does what is read from it mean anything.
    pub fn disk(&self) -> Result<&Disk> {
        ensure!(
            self.machine.is_none(),
            "the terminal has power: its disk is in use"
        );
        Ok(&self.disk)
    }

    /// The serial console.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// The port of this machine that leads to the application's port 2404.
    pub fn application_port(&self) -> u16 {
        self.port
    }

    /// Switches the power on.
    pub fn power_on(&mut self) -> Result<()> {
        ensure!(self.machine.is_none(), "the terminal has power already");
        let sockets = tempfile::tempdir()?;
        let qmp = sockets.path().join("qmp");
        let args = self.qemu_arguments(&qmp);
        let args: Vec<&OsStr> = args.iter().map(OsString::as_os_str).collect();
        let log = self.folder.join("qemu.log");
        let errors = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)?;
        let mut process = Process::start_with("QEMU", Path::new(QEMU), &args, &log, |command| {
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(errors);
            Ok(())
        })?;
        let child = process.child();
        let output = child.stdout.take().context("QEMU's output is a pipe")?;
        let input = child.stdin.take().context("QEMU's input is a pipe")?;
        self.console.attach(input, output);
        self.machine = Some(Machine {
            process,
            qmp,
            _sockets: sockets,
        });
        Ok(())
    }

    fn qemu_arguments(&self, qmp: &Path) -> Vec<OsString> {
        let clock = self.hardware.clock.as_deref().unwrap_or("utc");
        // A cycle of the emulated processor costs a cycle of ours or more: no use in more than one.
        let mut args: Vec<OsString> = [
            "-M",
            "virt",
            "-cpu",
            "cortex-a53",
            "-smp",
            "1",
            "-m",
            MEMORY_MIB,
            "-nodefaults",
            "-display",
            "none",
            "-no-user-config",
            "-chardev",
            "stdio,id=console,signal=off",
            "-serial",
            "chardev:console",
            "-object",
            "rng-random,id=rng,filename=/dev/urandom",
            "-device",
            "virtio-rng-device,rng=rng",
        ]
        .iter()
        .map(OsString::from)
        .collect();
        let mut add = |option: &str, value: String| {
            args.push(option.into());
            args.push(value.into());
        };
        add("-bios", self.hardware.u_boot.display().to_string());
        add("-rtc", format!("base={clock}"));
        add("-qmp", format!("unix:{},server=on,wait=off", qmp.display()));
        for node in self.disk_nodes() {
            add("-blockdev", node.to_string());
        }
        // The log knows writes and flushes; a guest that cannot discard or zero writes zeros in place of it. QEMU would merge writes
        // until their pieces, with the log's own, are more than the system takes at once.
        let plain = "discard=off,write-zeroes=off,request-merging=off";
        let device = match self.hardware.storage {
            Storage::Recorded(_) => format!("virtio-blk-device,drive={DISK},id={DISK},{plain}"),
            _ => format!("virtio-blk-device,drive={DISK},id={DISK}"),
        };
        add("-device", device);
        let mut network = format!(
            "user,id=net,hostfwd=tcp:127.0.0.1:{}-:{APPLICATION_PORT}",
            self.port
        );
        if !self.hardware.services.is_empty() {
            network += &format!(",host={OTHER_HOST}");
        }
        for Service { port, command } in &self.hardware.services {
            let command = command.replace(',', ",,");
            network += &format!(",guestfwd=tcp:{STATION_HOST}:{port}-cmd:{command}");
        }
        add("-netdev", network);
        add("-device", "virtio-net-device,netdev=net".to_owned());
        args
    }

    /// The disk as QEMU's block layer has it: qapi/block-core.json of QEMU.
    fn disk_nodes(&self) -> Vec<serde_json::Value> {
        let unflushed = matches!(
            self.hardware.storage,
            Storage::Unflushed | Storage::Recorded(_)
        );
        let file = |path: &Path| json!({"driver": "file", "filename": path, "cache": {"no-flush": unflushed}});
        match &self.hardware.storage {
            Storage::Plain | Storage::Unflushed => {
                vec![json!({"driver": "raw", "node-name": DISK, "file": file(self.disk.path())})]
            }
            Storage::Failing(rules) => vec![json!({
                "driver": "blkdebug", "node-name": DISK, "config": rules,
                "image": {"driver": "raw", "file": file(self.disk.path())},
            })],
            Storage::Recorded(log) => vec![json!({
                "driver": "blklogwrites", "node-name": DISK,
                "file": {"driver": "raw", "file": file(self.disk.path())},
                "log": file(log), "log-sector-size": 512, "log-super-update-interval": 1,
            })],
        }
    }

    fn machine(&mut self) -> Result<&mut Machine> {
        self.machine.as_mut().context("the terminal has no power")
    }

    /// Fails when the emulator has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.machine()?.process.check()
    }

    /// The power goes, at once.
    pub fn power_cut(&mut self) {
        if let Some(machine) = self.machine.take() {
            machine.process.kill();
            self.console.detach();
        }
    }

    /// Shuts down the normal OS from its console, and waits for the end.
    pub fn shut_down(&mut self) -> Result<()> {
        self.shell()?.start("poweroff")?;
        let machine = self.machine()?;
        machine.process.wait(limit::COMMAND)?;
        self.power_cut();
        Ok(())
    }

    /// The root shell on the console of the normal OS.
    pub fn shell(&mut self) -> Result<shell::Shell<'_>> {
        self.check()?;
        shell::Shell::log_in(&self.console)
    }

    /// Limits writing to the disk from now on, bytes a second, so that a moment in it can be met.
    pub fn slow_disk(&mut self, bytes_per_second: u64) -> Result<()> {
        qmp::Qmp::connect(&self.machine()?.qmp)?.limit_writing(DISK, bytes_per_second)
    }

    /// Waits until the console shows `text` after `mark`, and returns the rest of that line.
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
