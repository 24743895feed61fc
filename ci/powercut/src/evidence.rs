//! The contents of a crash state's disk, and checks that they are intact.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use dau_handoff::{parameters, Job, Layout};
use dau_model::Slot;
use dau_package::Keyring;
use dau_rig::disk::check_fat;
use dau_rig::places::{NEW, OLD};
use dau_rig::site::{SETTINGS, SET_HERE};
use dau_system::release::{Release, OS_RELEASE};

use crate::cache::{cached, Cache, Jobs, Rootfs};
use crate::checkers::{self, Repaired};
use crate::crash::State;
use crate::image::Image;
use crate::partition::Partition;
use crate::recorded::Recorded;
use crate::scenario::Scenario;
use crate::scratch::Scratch;
use crate::volumes::{Boot, Files, MntFiles};

/// The disk of one recording, set to one state after another.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) recorded: Arc<Recorded>,
    cache: Arc<Cache>,
    keyring: PathBuf,
    pub(crate) image: Rc<RefCell<Image>>,
    boot: RefCell<Scratch>,
    rootfs: RefCell<Repaired>,
    mnt: RefCell<Repaired>,
    folder: tempfile::TempDir,
}

impl Evidence {
    /// Starts with the disk before the first write; temporary files go to `folder`.
    pub fn new(
        recorded: Arc<Recorded>,
        cache: Arc<Cache>,
        keyring: &Path,
        folder: &Path,
    ) -> Result<Self> {
        let folder = tempfile::tempdir_in(folder)?;
        Ok(Evidence {
            boot: Scratch::new(&recorded, Partition::Boot, folder.path())?.into(),
            rootfs: Repaired::new(&recorded, Partition::Rootfs, folder.path())?.into(),
            mnt: Repaired::new(&recorded, Partition::Mnt, folder.path())?.into(),
            image: Rc::new(RefCell::new(Image::new(recorded.clone()))),
            recorded,
            cache,
            keyring: keyring.to_owned(),
            folder,
        })
    }

    /// Sets the disk to a state.
    pub fn show(&self, state: &State) {
        self.image.borrow_mut().show(state.settled, &state.reached);
    }

    /// Tells whether the job on the disk says that the station acknowledged its result.
    pub fn acknowledged(&self) -> Result<bool> {
        let last = self.jobs()?.last;
        Ok(last.is_some_and(|job| job.is_acknowledged()))
    }

    /// Checks that boot has no fault that matters to a mount.
    pub(crate) fn check_boot(&self) -> Result<()> {
        let image = self.image.borrow();
        let verdict = cached(&self.cache.boot, image.key(Partition::Boot), || {
            check_fat(self.boot.borrow_mut().of(&image)?)
        });
        verdict.map_err(anyhow::Error::msg)
    }

    /// Returns the jobs on mnt, after checking that mnt has no fault that a mount does not repair.
    pub(crate) fn jobs(&self) -> Result<Jobs> {
        let image = self.image.borrow();
        let verdict = cached(&self.cache.mnt, image.key(Partition::Mnt), || {
            let mut mnt = self.mnt.borrow_mut();
            let repaired = mnt.of(&image)?.map_err(anyhow::Error::msg)?;
            checkers::check(repaired)?;
            let left = MntFiles::open(repaired)?;
            Ok(Jobs {
                current: left.job()?,
                last: left.job_or_result(self.recorded.notes.job)?,
            })
        });
        verdict.map_err(|error| anyhow::anyhow!("mnt: {error}"))
    }

    /// Checks a FIT image on boot.
    pub(crate) fn fit(&self, boot: &Boot, name: &'static str) -> Result<()> {
        let key = (self.image.borrow().key(Partition::Boot), name);
        let verdict = cached(&self.cache.slots, key, || {
            let content = boot.read(name)?.context("is missing")?;
            let checked = cached(&self.cache.fits, content.key, || {
                let path = self.folder.path().join("fit");
                std::fs::write(&path, &content.bytes)?;
                dau_boot_state::fit::check(&path)?;
                Ok(())
            });
            checked.map_err(anyhow::Error::msg)
        });
        verdict.map_err(|error| anyhow::anyhow!("{name} {error}"))
    }

    /// Checks that a package on mnt exists, is authentic and intact, and that its image, which may
    /// have been compressed on the terminal, is the signed one; returns the digest of its
    /// manifest.
    pub(crate) fn package(
        &self,
        name: &'static str,
        path: fn(&Layout) -> PathBuf,
    ) -> Result<String, String> {
        let image = self.image.borrow();
        cached(
            &self.cache.on_mnt,
            (image.key(Partition::Mnt), name),
            || {
                let mut mnt = self.mnt.borrow_mut();
                let repaired = mnt.of(&image)?.map_err(anyhow::Error::msg)?;
                let bytes = MntFiles::open(repaired)?
                    .read(path)?
                    .context("is missing")?;
                let mut hasher = DefaultHasher::new();
                hasher.write(&bytes);
                let verified = cached(&self.cache.packages, hasher.finish(), || {
                    let keyring = Keyring::load(&self.keyring)?;
                    let file = std::io::Cursor::new(&bytes);
                    let verified = dau_package::verify_kept(file, &keyring, &mut |_, _| Ok(()))?;
                    Ok(verified.manifest_sha256)
                });
                verified.map_err(anyhow::Error::msg)
            },
        )
    }

    /// Checks that the parameter backup is intact.
    pub(crate) fn backup(&self, job: &Job) -> Result<(), String> {
        let image = self.image.borrow();
        let checked = cached(
            &self.cache.on_mnt,
            (image.key(Partition::Mnt), "backup"),
            || {
                let record = job.parameters.as_ref();
                let record = record.context("the job has none")?;
                let mut mnt = self.mnt.borrow_mut();
                let repaired = mnt.of(&image)?.map_err(anyhow::Error::msg)?;
                let left = MntFiles::open(repaired)?;
                let tar = left.read(|layout| layout.backup(job.id))?;
                let digest = left.read(|layout| layout.backup_digest(job.id))?;
                // The digest file names the backup's path.
                let layout = Layout::new(self.folder.path());
                std::fs::create_dir_all(layout.backups())?;
                let paths = [layout.backup(job.id), layout.backup_digest(job.id)];
                for (path, bytes) in paths.iter().zip([tar, digest]) {
                    std::fs::write(path, bytes.context("is missing")?)?;
                }
                parameters::read_back(&paths[0], &paths[1], record)?;
                Ok(String::new())
            },
        );
        checked.map(drop)
    }

    /// Checks that the normal OS of this kernel is intact and has its parameters.
    pub(crate) fn rootfs(&self, kernel: Slot) -> Result<()> {
        let image = self.image.borrow();
        let found = cached(&self.cache.rootfs, image.key(Partition::Rootfs), || {
            let mut rootfs = self.rootfs.borrow_mut();
            let repaired = rootfs.of(&image)?.map_err(anyhow::Error::msg)?;
            checkers::check(repaired)?;
            let files = Files::open(repaired)?;
            let text = |path: &str| -> Result<String> {
                let bytes = files.read(path)?;
                let bytes = bytes.with_context(|| format!("{path} is missing"))?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            };
            Ok(Rootfs {
                version: Release::parse(&text(OS_RELEASE)?).version,
                settings: text(SETTINGS)?,
            })
        });
        let found = found.map_err(|error| anyhow::anyhow!("rootfs: {error}"))?;
        let expected = match (kernel, self.recorded.notes.scenario) {
            (Slot::B, Scenario::Full | Scenario::Return | Scenario::Delta) => NEW,
            _ => OLD,
        };
        ensure!(
            found.version == expected,
            "kernel {kernel} is to run {expected}, but rootfs holds {}",
            found.version
        );
        ensure!(
            found.settings == SET_HERE,
            "{SETTINGS} was changed to: {}",
            found.settings
        );
        Ok(())
    }
}
