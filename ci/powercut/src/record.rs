//! A terminal goes through something with every write of its disk recorded.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use dau_boot_state::{BootState, Slot};
use dau_e2e::disk::Disk;
use dau_e2e::hostile::{self, Signatory};
use dau_e2e::pki::SitePki;
use dau_e2e::places::{Places, NEW, OLD};
use dau_e2e::process::tool;
use dau_e2e::scenarios::expect::{SETTINGS, SET_HERE};
use dau_e2e::site::BRISK;
use dau_e2e::terminal::{Storage, Terminal};
use dau_package::make::Pki;
use serde::{Deserialize, Serialize};

use crate::ground::{copy_folder, Ground, BROKER_PORT, TERMINAL};

/// By when a terminal has been told that its result arrived, and has put that on its disk.
const SETTLED: Duration = Duration::from_secs(15);
const NOTES: &str = "recording.json";

/// What a terminal goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Kernel and root filesystem are upgraded.
    Full,
    /// The kernel alone.
    Kernel,
    /// A full upgrade that fails its health check, and the return to what ran before.
    Return,
    /// RecoveryOS alone.
    Recovery,
}

impl Scenario {
    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Full => "full",
            Scenario::Kernel => "kernel",
            Scenario::Return => "return",
            Scenario::Recovery => "recovery",
        }
    }

    /// What the order says.
    pub fn kind(self) -> &'static str {
        match self {
            Scenario::Full | Scenario::Return => "full",
            Scenario::Kernel => "kernel",
            Scenario::Recovery => "recovery",
        }
    }

    /// How the job ends when nothing comes in between.
    pub fn outcome(self) -> &'static str {
        match self {
            Scenario::Full | Scenario::Kernel | Scenario::Recovery => "success",
            Scenario::Return => "rolled-back",
        }
    }

    /// The version of the OS that runs then.
    pub fn version(self) -> &'static str {
        match self {
            Scenario::Full => NEW,
            Scenario::Kernel | Scenario::Return | Scenario::Recovery => OLD,
        }
    }

    /// The boot state then, but for its sequence.
    pub fn boot_state(self) -> BootState {
        let factory = BootState::factory();
        match self {
            Scenario::Full | Scenario::Kernel => factory.steady(Slot::B),
            Scenario::Return => factory.steady(Slot::A),
            Scenario::Recovery => factory.in_charge(Slot::B),
        }
    }
}

/// What is noted about a recording.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Notes {
    /// Its name: that of the scenario, or of the one whose recovery was recorded, with `-again` behind it.
    pub name: String,
    /// What the terminal went through.
    pub scenario: Scenario,
    /// The job's id.
    pub job: i64,
    /// The crash state that it began with; `None`: a terminal that was never cut.
    pub began: Option<String>,
    /// SHA256SUMS of the images, program versions.
    pub versions: Versions,
}

/// What was under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// SHA-256 of the images' SHA256SUMS.
    pub images: String,
    /// Commit of the repository, with `+` when files were changed since.
    pub commit: String,
    /// The emulator.
    pub qemu: String,
    /// The file system checkers.
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
    /// The writes.
    pub fn log(&self) -> PathBuf {
        self.0.join("writes.log")
    }
    /// Broker and station when the order had been given.
    pub fn ordered(&self) -> PathBuf {
        self.0.join("ordered")
    }
    /// Broker and station when the result had come.
    pub fn reported(&self) -> PathBuf {
        self.0.join("reported")
    }
    /// What is known about it; `None` where there is no recording.
    pub fn notes(&self) -> Result<Option<Notes>> {
        match fs::read(self.0.join(NOTES)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Where recordings are made, and from what.
#[derive(Debug)]
pub struct Studio {
    /// Images and programs.
    pub places: Places,
    /// Everything is in here.
    pub folder: PathBuf,
    versions: Versions,
}

impl Studio {
    /// Recordings in `folder`.
    pub fn new(places: Places, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Studio {
            versions: Versions::found(&places)?,
            places,
            // Programs that run elsewhere are told of files in it.
            folder: folder.canonicalize()?,
        })
    }

    /// The keys of the recorded terminal's site.
    pub fn pki(&self) -> Result<SitePki> {
        SitePki::open(&self.site().join("pki"))
    }

    fn site(&self) -> PathBuf {
        self.folder.join("site")
    }

    /// The folder of a recording.
    pub fn recording(&self, name: &str) -> Folder {
        Folder(self.folder.join("recordings").join(name))
    }

    /// A recording that was made of the same images.
    pub fn fresh(&self, name: &str) -> Result<Option<Notes>> {
        let notes = self.recording(name).notes()?;
        Ok(notes.filter(|notes| notes.versions.images == self.versions.images))
    }

    /// A terminal that was set up, has run once, and was shut down.
    pub fn prepare(&self) -> Result<()> {
        let site = self.site();
        let marker = site.join("images");
        if fs::read_to_string(&marker).is_ok_and(|found| found == self.versions.images) {
            return Ok(());
        }
        for folder in [site.clone(), self.folder.join("recordings")] {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
        }
        fs::create_dir_all(&site)?;
        let pki = SitePki::create(&site.join("pki"))?;
        let identity = pki.identity(TERMINAL, BROKER_PORT, BRISK)?;
        let ground = Ground::start(&self.places, &pki, &site.join("running"))?;
        let image = self.places.image(OLD);
        let hardware = ground.hardware(Storage::Unflushed);
        let mut terminal = Terminal::new(&site.join("terminal"), &image, &identity, hardware)?;
        let rootfs = terminal.disk()?.ext4_in_place(dau_system::ROOTFS_LABEL)?;
        rootfs.write(SETTINGS, SET_HERE.as_bytes(), "0100644")?;
        terminal.power_on()?;
        ground.wait_for_version(&mut terminal, OLD)?;
        terminal.wait_until_serving()?;
        terminal.shut_down()?;
        terminal.disk()?.copy_to(&site.join("start.img"))?;
        ground.stop_and_keep(&site.join("kept"))?;
        fs::write(marker, &self.versions.images)?;
        Ok(())
    }

    /// Records a scenario from its order to its end.
    pub fn record(&self, scenario: Scenario) -> Result<Notes> {
        self.prepare()?;
        let recording = self.recording(scenario.name());
        let pki = self.pki()?;
        empty(&recording.0)?;
        Disk::new(self.site().join("start.img")).copy_to(&recording.base())?;
        let running = recording.0.join("running");
        copy_folder(&self.site().join("kept"), &running)?;
        let ground = Ground::start(&self.places, &pki, &running)?;
        let package = ground.station.upload(&self.package(scenario)?)?;
        let job = ground.station.order(TERMINAL, package, scenario.kind())?;
        ground.stop_and_keep(&recording.ordered())?;
        let notes = Notes {
            name: scenario.name().to_owned(),
            scenario,
            job,
            began: None,
            versions: self.versions.clone(),
        };
        self.run_to_the_end(&recording, notes)
    }

    /// Records what becomes of a terminal that was cut: `disk` is what was left of it.
    pub fn record_recovery(&self, of: &Notes, began: &str, disk: &Disk) -> Result<Notes> {
        let recording = self.recording(&format!("{}-again", of.name));
        empty(&recording.0)?;
        disk.copy_to(&recording.base())?;
        copy_folder(&self.recording(&of.name).ordered(), &recording.ordered())?;
        let notes = Notes {
            name: format!("{}-again", of.name),
            began: Some(began.to_owned()),
            ..of.clone()
        };
        self.run_to_the_end(&recording, notes)
    }

    fn run_to_the_end(&self, recording: &Folder, notes: Notes) -> Result<Notes> {
        let running = recording.0.join("running");
        copy_folder(&recording.ordered(), &running)?;
        let ground = Ground::start(&self.places, &self.pki()?, &running)?;
        // The driver wants a file that is there.
        fs::File::create(recording.log())?;
        let disk = Disk::new(recording.base()).copy_to(&recording.0.join("disk.img"))?;
        let storage = Storage::Recorded(recording.log());
        let mut terminal = ground.terminal(&recording.0, disk, storage)?;
        terminal.power_on()?;
        let view = ground
            .wait_for_result(&mut terminal, notes.job)
            .with_context(|| format!("see {}", terminal.console().log().display()))?;
        let outcome = view.outcome.unwrap_or_default();
        ensure!(
            outcome == notes.scenario.outcome(),
            "job {} ended {outcome} ({}): {}",
            notes.job,
            view.word,
            view.message
        );
        terminal.wait_until_serving()?;
        std::thread::sleep(SETTLED);
        terminal.power_cut();
        ground.stop_and_keep(&recording.reported())?;
        for name in ["disk.img", "running"] {
            let path = recording.0.join(name);
            match path.is_dir() {
                true => fs::remove_dir_all(path)?,
                false => fs::remove_file(path)?,
            }
        }
        fs::write(recording.0.join(NOTES), serde_json::to_vec_pretty(&notes)?)?;
        Ok(notes)
    }

    /// The package of [`Scenario::Return`].
    pub fn sick_package(&self) -> PathBuf {
        let recording = self.recording(Scenario::Return.name());
        recording.0.join("sick.dau")
    }

    fn package(&self, scenario: Scenario) -> Result<PathBuf> {
        let genuine = self.places.package(NEW, scenario.kind());
        if scenario != Scenario::Return {
            return Ok(genuine);
        }
        let sick = self.sick_package();
        let signatory = Signatory::of(&Pki::open(self.places.pki())?);
        let check = b"#!/bin/sh\necho 'the protection relay does not answer'\nexit 1\n";
        let path = "/etc/dau/health.d/50-relay";
        hostile::with_file(&genuine, &signatory, &sick, path, check)?;
        Ok(sick)
    }
}

impl Versions {
    fn found(places: &Places) -> Result<Self> {
        let sums = places.package(OLD, "full").with_file_name("SHA256SUMS");
        let sums = fs::read(&sums)
            .with_context(|| format!("{} cannot be read: run make image", sums.display()))?;
        let digest = openssl::sha::sha256(&sums);
        Ok(Versions {
            images: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            commit: said("git", &["describe", "--always", "--dirty=+"]),
            qemu: said("qemu-system-aarch64", &["--version"]),
            checkers: format!(
                "{}, {}",
                said("e2fsck", &["-V"]),
                said("fsck.fat", &["-n", "/dev/null"])
            ),
        })
    }
}

/// The first line that a program prints, wherever it prints it; empty where there is no such program.
fn said(program: &str, args: &[&str]) -> String {
    let output = tool(program)
        .args(args)
        .current_dir(dau_e2e::places::repository())
        .output();
    let text = output.map(|output| [output.stdout, output.stderr].concat());
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}
