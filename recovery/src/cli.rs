//! Arguments: of a run by hand against folders and files, and of the child of process 1 on the
//! terminal itself.

use std::ffi::OsString;
use std::path::PathBuf;

use dau_model::Slot;
use dau_system::cmdline::CommandLine;
use dau_system::release::Release;
use dau_system::volume::Volume;

use crate::terminal::{RootfsDevice, Terminal};

/// Option of the child of process 1: work on the terminal's own partitions.
pub const TERMINAL: &str = "--terminal";
/// Option: the way an earlier child died.
pub const CRASHED: &str = "--crashed";

/// The program's arguments.
pub const USAGE: &str = "\
usage: dau-recovery --boot-dir DIR --mnt-dir DIR --rootfs FILE --rootfs-dir DIR --keyring DIR --release FILE
                    [--reason WORD] [--recovery-slot a|b] [--crashed TEXT]

As process 1 it takes no arguments. By hand it does one run of RecoveryOS, without a reboot:
  --boot-dir DIR       stands for partition boot: kernel slots and boot state
  --mnt-dir DIR        stands for partition mnt: DIR/dau/job.json, DIR/dau/packages, ...
  --rootfs FILE        device or file that the root filesystem is written to
  --rootfs-dir DIR     stands for partition rootfs when it is mounted: parameters are restored there
  --keyring DIR        roots that vouch for packages
  --release FILE       os-release of RecoveryOS: product and rollback index
  --reason WORD        why the bootloader started RecoveryOS: upgrade, trial-ended, no-state, kernel-refused
  --recovery-slot SLOT the RecoveryOS slot that runs
  --crashed TEXT       counts an earlier run that died this way as a failure
Exit status: 0 done, 1 failed, 3 nothing can be done now, 2 wrong arguments.";

/// The terminal, and the history of this run.
#[derive(Debug)]
pub struct Arguments {
    pub terminal: Terminal,
    /// The way an earlier run died.
    pub crashed: Option<String>,
}

#[derive(Debug, Default)]
struct Options {
    boot_dir: Option<PathBuf>,
    mnt_dir: Option<PathBuf>,
    rootfs: Option<PathBuf>,
    rootfs_dir: Option<PathBuf>,
    keyring: Option<PathBuf>,
    release: Option<PathBuf>,
    reason: Option<String>,
    recovery_slot: Option<String>,
    crashed: Option<String>,
    terminal: bool,
}

/// Parses the arguments without the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, String> {
    let mut options = Options::default();
    let mut arguments = arguments.into_iter();
    while let Some(option) = arguments.next() {
        let option = option.to_string_lossy().into_owned();
        if option == TERMINAL {
            options.terminal = true;
            continue;
        }
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{option} needs a value"))
        };
        let mut path = || value().map(|value| Some(PathBuf::from(value)));
        match option.as_str() {
            "--boot-dir" => options.boot_dir = path()?,
            "--mnt-dir" => options.mnt_dir = path()?,
            "--rootfs" => options.rootfs = path()?,
            "--rootfs-dir" => options.rootfs_dir = path()?,
            "--keyring" => options.keyring = path()?,
            "--release" => options.release = path()?,
            "--reason" => options.reason = Some(text(value()?)),
            "--recovery-slot" => options.recovery_slot = Some(text(value()?)),
            CRASHED => options.crashed = Some(text(value()?)),
            _ => return Err(format!("{option} is not known")),
        }
    }
    let crashed = options.crashed.take();
    let terminal = match options.terminal {
        true => Terminal::real(),
        false => by_hand(options)?,
    };
    Ok(Arguments { terminal, crashed })
}

/// Requires folders: without them, only the disk of the machine it is tried on could be meant.
fn by_hand(options: Options) -> Result<Terminal, String> {
    let need =
        |value: Option<PathBuf>, name: &str| value.ok_or_else(|| format!("{name} is missing"));
    let release = need(options.release, "--release")?;
    let reason = options
        .reason
        .map(|word| {
            let line = CommandLine::parse(&format!("dau.reason={word}"));
            line.reason.ok_or(format!("--reason {word} is not known"))
        })
        .transpose()?;
    let recovery = options
        .recovery_slot
        .map(|slot| {
            slot.parse::<Slot>()
                .map_err(|error| format!("--recovery-slot: {error}"))
        })
        .transpose()?;
    Ok(Terminal {
        boot: Volume::Directory(need(options.boot_dir, "--boot-dir")?),
        mnt: Volume::Directory(need(options.mnt_dir, "--mnt-dir")?),
        rootfs: RootfsDevice::Path(need(options.rootfs, "--rootfs")?),
        rootfs_files: Volume::Directory(need(options.rootfs_dir, "--rootfs-dir")?),
        keyring: need(options.keyring, "--keyring")?,
        release: Release::read(&release)
            .map_err(|error| format!("cannot read {}: {error}", release.display()))?,
        reason,
        recovery,
        failpoint: crate::failpoint::Failpoint::default(),
        progress: || {},
    })
}

fn text(value: OsString) -> String {
    value.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<Arguments, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn without_directories_nothing_is_touched() {
        for words in [&[][..], &["--reason", "upgrade"], &["--boot-dir", "/tmp"]] {
            let error = parse_words(words).unwrap_err();
            assert!(error.ends_with("is missing"), "{error}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let cases = [
            (&["--boot"][..], "--boot is not known"),
            (&["--keyring"], "--keyring needs a value"),
        ];
        for (words, expected) in cases {
            assert_eq!(parse_words(words).unwrap_err(), expected);
        }
    }

    #[test]
    fn directories_stand_for_partitions() {
        let dir = tempfile::tempdir().unwrap();
        let release = dir.path().join("os-release");
        std::fs::write(&release, "DAU_PRODUCT=test\n").unwrap();
        let release = release.to_str().unwrap();
        let words = [
            "--boot-dir",
            "b",
            "--mnt-dir",
            "m",
            "--rootfs",
            "r",
            "--rootfs-dir",
            "d",
            "--keyring",
            "k",
            "--release",
            release,
            "--reason",
            "kernel-refused",
            "--recovery-slot",
            "b",
        ];
        let arguments = parse_words(&words).unwrap();
        assert_eq!(arguments.terminal.boot, Volume::Directory("b".into()));
        assert_eq!(arguments.terminal.recovery, Some(Slot::B));
        assert_eq!(arguments.terminal.release.product, "test");
        let wrong = parse_words(&[&words[..], &["--reason", "boredom"]].concat());
        assert_eq!(wrong.unwrap_err(), "--reason boredom is not known");
    }
}
