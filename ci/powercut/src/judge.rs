//! The cheap check of a crash state, without switching anything on: where it leads, and whether all that is needed there is
//! there and whole.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use dau_boot_state::{decide, Boot as Leads, Slot};
use dau_e2e::disk::check_fat;
use dau_e2e::places::{NEW, OLD};
use dau_e2e::scenarios::expect::{SETTINGS, SET_HERE};
use dau_handoff::{parameters, Job, JobState, Layout};
use dau_package::Keyring;
use dau_system::cmdline::BootReason;
use dau_system::release::{Release, OS_RELEASE};

use crate::checkers::{self, Mended};
use crate::image::{Image, Scratch};
use crate::known::{remembered, Jobs, Known, Rootfs};
use crate::look::Look;
use crate::record::Scenario;
use crate::recorded::{Area, Recorded};
use crate::states::State;
use crate::timeline::Timeline;
use crate::volumes::{Boot, Files, Left};

/// Looks at the states of one recording.
#[derive(Debug)]
pub struct Judge {
    pub(crate) recorded: Arc<Recorded>,
    timeline: Arc<Timeline>,
    known: Arc<Known>,
    keyring: PathBuf,
    image: Rc<RefCell<Image>>,
    boot: RefCell<Scratch>,
    rootfs: RefCell<Mended>,
    mnt: RefCell<Mended>,
    folder: tempfile::TempDir,
}

impl Judge {
    /// A judge with files of its own in `folder`.
    pub fn new(
        recorded: Arc<Recorded>,
        timeline: Arc<Timeline>,
        known: Arc<Known>,
        keyring: &Path,
        folder: &Path,
    ) -> Result<Self> {
        let folder = tempfile::tempdir_in(folder)?;
        Ok(Judge {
            boot: Scratch::new(&recorded, Area::Boot, folder.path())?.into(),
            rootfs: Mended::new(&recorded, Area::Rootfs, folder.path())?.into(),
            mnt: Mended::new(&recorded, Area::Mnt, folder.path())?.into(),
            image: Rc::new(RefCell::new(Image::new(recorded.clone()))),
            recorded,
            timeline,
            known,
            keyring: keyring.to_owned(),
            folder,
        })
    }

    /// The disk of the state that was looked at last.
    pub fn image(&self) -> std::cell::Ref<'_, Image> {
        self.image.borrow()
    }

    /// Shows a state without judging it.
    pub fn show(&self, state: &State) {
        self.image.borrow_mut().show(state.settled, &state.reached);
    }

    /// Whether the station has taken the job's result as far as this state's disk says.
    pub fn acknowledged(&self) -> Result<bool> {
        let last = self.jobs()?.last;
        Ok(last.is_some_and(|job| {
            matches!(
                job.state,
                JobState::Finished {
                    acknowledged: true,
                    ..
                }
            )
        }))
    }

    /// Judges a state: where it leads, in a few words for the table.
    ///
    /// # Errors
    /// What would be lost, or not be as it must be.
    pub fn judge(&self, state: &State) -> Result<String> {
        self.show(state);
        self.check_boot()?;
        let jobs = self.jobs()?;
        let boot = Boot::open(&self.image)?;
        let counts = boot
            .state()?
            .context("neither copy of the boot state is valid")?;
        let possible = self.timeline.possible(state.settled, state.last + 1);
        ensure!(
            possible.iter().any(|(_, state)| *state == counts),
            "the boot state that counts is an older one, which another had followed for good: {counts:?}"
        );
        self.fit(&boot, counts.recovery.recovery_name())?;
        // Only while it is not in charge yet, and is not to be checked, may the new RecoveryOS be there in part.
        let job = jobs.last.as_ref().map(|job| &job.state);
        let upgraded = self.recorded.notes.scenario.boot_state().recovery;
        let writing = job == Some(&JobState::UpdatingRecovery)
            && counts.recovery != upgraded
            && !counts.check;
        if !writing {
            self.fit(&boot, counts.recovery.other().recovery_name())?;
        }
        ensure!(
            jobs.last.is_some() || state.settled < self.timeline.accepted,
            "the job is lost"
        );
        let look = Look {
            judge: self,
            boot,
            jobs,
        };
        let (lead, kernel) = match decide(Some(&counts)) {
            Leads::NormalOs { kernel, reason, .. } => {
                (look.normal_os(kernel, reason)?, Some(kernel))
            }
            // Whatever comes of the check, this normal OS is next.
            Leads::Check { kernel, .. } => {
                look.normal_os(kernel, BootReason::Check)?;
                ("RecoveryOS: check itself".to_owned(), Some(kernel))
            }
            Leads::RecoveryOs { reason, .. } => look.recovery_os(&counts, reason)?,
        };
        if let Some(kernel) = kernel {
            self.rootfs(kernel)?;
        }
        Ok(lead)
    }

    /// Nothing is wrong with boot that a mount minds.
    fn check_boot(&self) -> Result<()> {
        let image = self.image.borrow();
        let verdict = remembered(&self.known.boot, image.key(Area::Boot), || {
            check_fat(self.boot.borrow_mut().of(&image)?)
        });
        verdict.map_err(anyhow::Error::msg)
    }

    /// The jobs on mnt, with which nothing is wrong that a mount does not mend.
    fn jobs(&self) -> Result<Jobs> {
        let image = self.image.borrow();
        let verdict = remembered(&self.known.mnt, image.key(Area::Mnt), || {
            let mut mnt = self.mnt.borrow_mut();
            let mended = mnt.of(&image)?.map_err(anyhow::Error::msg)?;
            checkers::check(mended)?;
            let left = Left::open(mended)?;
            Ok(Jobs {
                current: left.job()?,
                last: left.job_or_result(self.recorded.notes.job)?,
            })
        });
        verdict.map_err(|error| anyhow::anyhow!("mnt: {error}"))
    }

    /// A FIT image on boot is whole.
    pub(crate) fn fit(&self, boot: &Boot, name: &'static str) -> Result<()> {
        let key = (self.image.borrow().key(Area::Boot), name);
        let verdict = remembered(&self.known.slots, key, || {
            let content = boot.read(name)?.context("is missing")?;
            let checked = remembered(&self.known.fits, content.key, || {
                let path = self.folder.path().join("fit");
                std::fs::write(&path, &content.bytes)?;
                dau_boot_state::fit::check(&path)?;
                Ok(())
            });
            checked.map_err(anyhow::Error::msg)
        });
        verdict.map_err(|error| anyhow::anyhow!("{name} {error}"))
    }

    /// A package on mnt is there, authentic and whole; the digest of its manifest.
    pub(crate) fn package(
        &self,
        name: &'static str,
        path: fn(&Layout) -> PathBuf,
    ) -> Result<String, String> {
        let image = self.image.borrow();
        remembered(&self.known.on_mnt, (image.key(Area::Mnt), name), || {
            let mut mnt = self.mnt.borrow_mut();
            let mended = mnt.of(&image)?.map_err(anyhow::Error::msg)?;
            let bytes = Left::open(mended)?.read(path)?.context("is missing")?;
            let mut hasher = DefaultHasher::new();
            hasher.write(&bytes);
            let verified = remembered(&self.known.packages, hasher.finish(), || {
                let keyring = Keyring::load(&self.keyring)?;
                let file = std::io::Cursor::new(&bytes);
                Ok(dau_package::verify(file, &keyring, &mut |_, _| ())?.manifest_sha256)
            });
            verified.map_err(anyhow::Error::msg)
        })
    }

    /// The backup of the parameters is whole.
    pub(crate) fn backup(&self, job: &Job) -> Result<(), String> {
        let image = self.image.borrow();
        let checked = remembered(&self.known.on_mnt, (image.key(Area::Mnt), "backup"), || {
            let record = job.parameters.as_ref();
            let record = record.context("the job has none")?;
            let mut mnt = self.mnt.borrow_mut();
            let mended = mnt.of(&image)?.map_err(anyhow::Error::msg)?;
            let left = Left::open(mended)?;
            let tar = left.read(|layout| layout.backup(job.id))?;
            let digest = left.read(|layout| layout.backup_digest(job.id))?;
            // The digest's line names the file.
            let layout = Layout::new(self.folder.path());
            std::fs::create_dir_all(layout.backups())?;
            let paths = [layout.backup(job.id), layout.backup_digest(job.id)];
            for (path, bytes) in paths.iter().zip([tar, digest]) {
                std::fs::write(path, bytes.context("is missing")?)?;
            }
            parameters::read_back(&paths[0], &paths[1], record)?;
            Ok(String::new())
        });
        checked.map(drop)
    }

    /// The normal OS that this kernel belongs to is whole, with its parameters.
    fn rootfs(&self, kernel: Slot) -> Result<()> {
        let image = self.image.borrow();
        let found = remembered(&self.known.rootfs, image.key(Area::Rootfs), || {
            let mut rootfs = self.rootfs.borrow_mut();
            let mended = rootfs.of(&image)?.map_err(anyhow::Error::msg)?;
            checkers::check(mended)?;
            let files = Files::open(mended)?;
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
            (Slot::B, Scenario::Full | Scenario::Return) => NEW,
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
