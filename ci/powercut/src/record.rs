//! Records every disk write of a terminal during a scenario.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use dau_package::make::Pki;
use dau_rig::disk::Disk;
use dau_rig::hostile::{self, Signatory};
use dau_rig::pki::SitePki;
use dau_rig::places::{Places, NEW, OLD};
use dau_rig::site::{BRISK, SETTINGS, SET_HERE, TERMINAL};
use dau_rig::terminal::{limit, Storage, Terminal};

use crate::backend::{copy_folder, Backend, BROKER_PORT};
use crate::notes::{Folder, Notes, Versions};
use crate::scenario::Scenario;

/// Time for a terminal to learn that its result arrived, and to save that.
const SETTLED: Duration = Duration::from_secs(15);

/// Makes recordings.
#[derive(Debug)]
pub struct Studio {
    /// Images and programs.
    pub places: Places,
    /// Folder of all recordings.
    pub folder: PathBuf,
    versions: Versions,
}

impl Studio {
    pub fn new(places: Places, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Studio {
            versions: Versions::found(&places)?,
            places,
            // Programs with another working directory get paths in it.
            folder: folder.canonicalize()?,
        })
    }

    /// Returns the keys of the recorded terminal's site.
    pub fn pki(&self) -> Result<SitePki> {
        SitePki::open(&self.site().join("pki"))
    }

    fn site(&self) -> PathBuf {
        self.folder.join("site")
    }

    /// Returns the folder of a recording.
    pub fn recording(&self, name: &str) -> Folder {
        Folder(self.folder.join("recordings").join(name))
    }

    /// Returns the notes of a recording if it was made of the current images.
    pub fn fresh(&self, name: &str) -> Result<Option<Notes>> {
        let notes = self.recording(name).notes()?;
        Ok(notes.filter(|notes| notes.versions.images == self.versions.images))
    }

    /// Makes a terminal that was set up, ran once, and was shut down.
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
        let mut backend = Backend::start(&self.places, &pki, &site.join("running"))?;
        let image = self.places.image(OLD);
        let hardware = backend.hardware(Storage::Unflushed);
        let mut terminal = Terminal::new(&site.join("terminal"), &image, &identity, hardware)?;
        let rootfs = terminal.disk()?.ext4_in_place(dau_system::ROOTFS_LABEL)?;
        rootfs.write(SETTINGS, SET_HERE.as_bytes(), "0100644")?;
        terminal.power_on()?;
        backend
            .station
            .wait_for_version((TERMINAL, &mut terminal), OLD, limit::JOB)?;
        terminal.wait_until_serving()?;
        terminal.shut_down()?;
        terminal.disk()?.copy_to(&site.join("start.img"))?;
        backend.stop_and_keep(&site.join("kept"))?;
        fs::write(marker, &self.versions.images)?;
        Ok(())
    }

    /// Records a scenario from the order to the end.
    pub fn record(&self, scenario: Scenario) -> Result<Notes> {
        self.prepare()?;
        let recording = self.recording(scenario.name());
        let pki = self.pki()?;
        empty(&recording.0)?;
        Disk::new(self.site().join("start.img")).copy_to(&recording.base())?;
        let running = recording.0.join("running");
        copy_folder(&self.site().join("kept"), &running)?;
        let backend = Backend::start(&self.places, &pki, &running)?;
        let package = backend.station.upload(&self.package(scenario)?)?;
        if scenario == Scenario::Delta {
            let base = backend.station.upload(&self.places.package(OLD, "full"))?;
            let size = backend.station.delta(base, package)?;
            println!("the delta has {size} bytes");
        }
        let job = backend.station.order(TERMINAL, package, scenario.kind())?;
        let file = backend.station.job(job)?;
        ensure!(
            file.delta == (scenario == Scenario::Delta),
            "the station offers the wrong file: {file:?}"
        );
        backend.stop_and_keep(&recording.ordered())?;
        let notes = Notes {
            name: scenario.name().to_owned(),
            scenario,
            job,
            began: None,
            versions: self.versions.clone(),
        };
        self.run_to_the_end(&recording, notes)
    }

    /// Records the recovery of a cut terminal from `disk`.
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
        let mut backend = Backend::start(&self.places, &self.pki()?, &running)?;
        // The driver needs an existing file.
        fs::File::create(recording.log())?;
        let disk = Disk::new(recording.base()).copy_to(&recording.0.join("disk.img"))?;
        let storage = Storage::Recorded(recording.log());
        let mut terminal = backend.terminal(&recording.0, disk, storage)?;
        terminal.power_on()?;
        let view = backend
            .station
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
        backend.stop_and_keep(&recording.reported())?;
        for name in ["disk.img", "running"] {
            let path = recording.0.join(name);
            match path.is_dir() {
                true => fs::remove_dir_all(path)?,
                false => fs::remove_file(path)?,
            }
        }
        recording.write_notes(&notes)?;
        Ok(notes)
    }

    /// Returns the package of [`Scenario::Return`].
    pub fn sick_package(&self) -> PathBuf {
        let recording = self.recording(Scenario::Return.name());
        recording.0.join("sick.dau")
    }

    /// Returns the package of [`Scenario::Delta`].
    pub fn delta_target(&self) -> PathBuf {
        let recording = self.recording(Scenario::Delta.name());
        recording.0.join("target.dau")
    }

    fn package(&self, scenario: Scenario) -> Result<PathBuf> {
        let genuine = self.places.package(NEW, scenario.kind());
        let signatory = Signatory::of(&Pki::open(self.places.pki())?);
        match scenario {
            Scenario::Full | Scenario::Kernel | Scenario::Recovery => return Ok(genuine),
            Scenario::Delta => {
                // Compressed kernels make large deltas, which take long to make and to fetch.
                let (old, target) = (self.places.package(OLD, "full"), self.delta_target());
                hostile::with_kernel_of(&genuine, &old, &signatory, &target)?;
                return Ok(target);
            }
            Scenario::Return => {}
        }
        let sick = self.sick_package();
        let check = b"#!/bin/sh\necho 'the protection relay does not answer'\nexit 1\n";
        let path = "/etc/dau/health.d/50-relay";
        hostile::with_file(&genuine, &signatory, &sick, path, check)?;
        Ok(sick)
    }
}

fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}
