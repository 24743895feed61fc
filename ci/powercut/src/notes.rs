//! A recording's folder and its notes.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use dau_model::hex;
use dau_rig::places::{repository, Places, OLD};
use dau_rig::process::tool;
use serde::{Deserialize, Serialize};

use crate::scenario::Scenario;

/// Notes about a recording.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Notes {
    /// The recording's name: the scenario's; with `-again` if it is the recovery from a cut.
    pub name: String,
    pub scenario: Scenario,
    /// The job's id.
    pub job: i64,
    /// The crash state it started from; `None`: the terminal was never cut.
    pub began: Option<String>,
    /// The images' checksum and the programs' versions.
    pub versions: Versions,
}

/// Versions of everything under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// SHA-256 of the images' SHA256SUMS.
    pub images: String,
    /// Commit of the repository, with `+` if files have changed since.
    pub commit: String,
    /// The emulator's.
    pub qemu: String,
    /// The file system checkers'.
    pub checkers: String,
}

/// A recording's folder.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// The disk before the first write.
    pub fn base(&self) -> PathBuf {
        self.0.join("base.img")
    }

    /// The log of the writes.
    pub fn log(&self) -> PathBuf {
        self.0.join("writes.log")
    }

    /// Broker's and station's data right after the order.
    pub fn ordered(&self) -> PathBuf {
        self.0.join("ordered")
    }

    /// Broker's and station's data right after the result.
    pub fn reported(&self) -> PathBuf {
        self.0.join("reported")
    }
    fn notes_path(&self) -> PathBuf {
        self.0.join("recording.json")
    }

    /// Writes the notes; they mark the recording as complete.
    pub fn write_notes(&self, notes: &Notes) -> Result<()> {
        Ok(fs::write(
            self.notes_path(),
            serde_json::to_vec_pretty(notes)?,
        )?)
    }

    /// Reads the notes; `None` if there is no recording.
    pub fn notes(&self) -> Result<Option<Notes>> {
        match fs::read(self.notes_path()) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Versions {
    /// Reads the images' checksums and asks the tools.
    pub(crate) fn found(places: &Places) -> Result<Self> {
        let sums = places.package(OLD, "full").with_file_name("SHA256SUMS");
        let sums = fs::read_to_string(&sums)
            .with_context(|| format!("{} cannot be read: run make image", sums.display()))?;
        // Those of other products do not count.
        let own = format!("dau-{}-", places.product());
        let sums: String = sums.lines().filter(|line| line.contains(&own)).collect();
        let digest = openssl::sha::sha256(sums.as_bytes());
        Ok(Versions {
            images: hex::encode(digest),
            commit: first_line("git", &["describe", "--always", "--dirty=+"]),
            qemu: first_line(places.machine().emulator(), &["--version"]),
            checkers: format!(
                "{}, {}",
                first_line("e2fsck", &["-V"]),
                first_line("fsck.fat", &["-n", "/dev/null"])
            ),
        })
    }
}

/// Returns the first line that a program prints; empty if it cannot be run.
fn first_line(program: &str, args: &[&str]) -> String {
    let output = tool(program).args(args).current_dir(repository()).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat());
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    text.lines().next().unwrap_or_default().trim().to_owned()
}
