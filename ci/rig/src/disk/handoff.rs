//! The files on mnt by which agent and RecoveryOS hand over a job.

use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use dau_handoff::{History, Job, Layout, MNT};

use super::ext4::Ext4;

/// The folder `dau` of a terminal's mnt.
#[derive(Debug)]
pub struct Handoff {
    mnt: Ext4,
    layout: Layout,
}

impl Handoff {
    pub(super) fn new(mnt: Ext4) -> Self {
        Handoff {
            mnt,
            layout: Layout::new(Path::new(MNT)),
        }
    }

    /// Returns mnt's file system.
    pub fn mnt(&self) -> &Ext4 {
        &self.mnt
    }

    /// Returns a path of [`Layout`] as a path within the partition.
    pub fn inside(path: &Path) -> Result<String> {
        let inner = path.strip_prefix(MNT).context("not a path on mnt")?;
        Ok(format!("/{}", inner.display()))
    }

    /// Reads a file of the layout; `None` if it does not exist.
    pub fn file(&self, path: impl FnOnce(&Layout) -> PathBuf) -> Result<Option<Vec<u8>>> {
        self.mnt.read(&Self::inside(&path(&self.layout))?)
    }

    /// Returns the current job.
    pub fn job(&self) -> Result<Option<Job>> {
        let bytes = self.file(Layout::job)?;
        bytes
            .map(|bytes| serde_json::from_slice(&bytes).context("job.json holds no job"))
            .transpose()
    }

    /// Returns the results of earlier jobs.
    pub fn history(&self) -> Result<History> {
        match self.file(Layout::history)? {
            Some(bytes) => serde_json::from_slice(&bytes).context("history.json is damaged"),
            None => Ok(History::default()),
        }
    }

    /// Returns the result of a job, current or past; an error if it has none.
    pub fn result(&self, job: i64) -> Result<dau_handoff::JobResult> {
        if let Some(current) = self.job()?.filter(|current| current.id == job) {
            match current.result() {
                Some(result) => return Ok(result.clone()),
                None => bail!("job {job} is still {} on mnt", current.state()),
            }
        }
        let history = self.history()?;
        let entry = history.find(job);
        Ok(entry
            .with_context(|| format!("mnt knows nothing of job {job}"))?
            .result
            .clone())
    }
}
