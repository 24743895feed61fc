//! What agent and RecoveryOS left on mnt.

use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use dau_handoff::{History, Job, Layout, MNT};

use super::Ext4;

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

    /// The file system.
    pub fn mnt(&self) -> &Ext4 {
        &self.mnt
    }

    /// A path of [`Layout`], as it is named within the partition.
    pub fn inside(path: &Path) -> Result<String> {
        let inner = path.strip_prefix(MNT).context("not a path on mnt")?;
        Ok(format!("/{}", inner.display()))
    }

    /// A file of the layout; `None` where there is none.
    pub fn file(&self, path: impl FnOnce(&Layout) -> PathBuf) -> Result<Option<Vec<u8>>> {
        self.mnt.read(&Self::inside(&path(&self.layout))?)
    }

    /// The current job.
    pub fn job(&self) -> Result<Option<Job>> {
        let bytes = self.file(Layout::job)?;
        bytes
            .map(|bytes| serde_json::from_slice(&bytes).context("job.json holds no job"))
            .transpose()
    }

    /// Results of earlier jobs.
    pub fn history(&self) -> Result<History> {
        match self.file(Layout::history)? {
            Some(bytes) => serde_json::from_slice(&bytes).context("history.json is damaged"),
            None => Ok(History::default()),
        }
    }

    /// The job with this id, current or not, if it has a result.
    pub fn result(&self, job: i64) -> Result<dau_handoff::JobResult> {
        if let Some(current) = self.job()?.filter(|current| current.id == job) {
            match current.result() {
                Some(result) => return Ok(result.clone()),
                None => bail!("job {job} is still {:?} on mnt", current.state),
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
