//! Files on the partitions of a crash state, as a mount would show them.

use std::cell::RefCell;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use dau_boot_state::{newest, BootState, COPY_NAMES};
use dau_handoff::{Job, Layout, MNT};
use dau_rig::disk::Handoff;
use ext4_view::{Ext4, Ext4Error};
use fatfs::{FileSystem, FsOptions};

use crate::image::Image;
use crate::partition::Partition;
use crate::reader::Reader;

/// The FAT partition boot.
pub struct Boot {
    files: FileSystem<Reader>,
    reader: Reader,
}

impl fmt::Debug for Boot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Boot");
        shown.field("reader", &self.reader).finish_non_exhaustive()
    }
}

/// A file's content.
#[derive(Debug)]
pub struct Content {
    pub bytes: Vec<u8>,
    /// A key that is equal for equal content, see [`Reader::key`].
    pub key: u64,
}

impl Boot {
    pub fn open(image: &Rc<RefCell<Image>>) -> Result<Self> {
        let reader = Reader::new(image, Partition::Boot);
        let options = FsOptions::new().update_accessed_date(false);
        let files = FileSystem::new(reader.clone(), options).context("boot is no FAT")?;
        Ok(Boot { files, reader })
    }

    /// Reads a file; `None` if it does not exist.
    pub fn read(&self, name: &str) -> Result<Option<Content>> {
        self.reader.forget();
        let mut file = match self.files.root_dir().open_file(name) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{name} on boot")),
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .with_context(|| format!("{name} on boot"))?;
        let key = self.reader.key();
        Ok(Some(Content { bytes, key }))
    }

    /// Returns the valid boot state; `None`: neither copy is valid.
    pub fn state(&self) -> Result<Option<BootState>> {
        let mut copies = Vec::new();
        for name in COPY_NAMES {
            let bytes = self.read(name)?.map(|content| content.bytes);
            copies.push(BootState::decode(&bytes.unwrap_or_default()).ok());
        }
        let index = newest(copies[0].as_ref(), copies[1].as_ref());
        Ok(index.and_then(|index| copies.swap_remove(index)))
    }
}

/// Files of a repaired ext4 file system; its journal is ignored.
#[derive(Debug)]
pub struct Files(Ext4);

impl Files {
    /// Opens the file system in a file.
    pub fn open(image: &Path) -> Result<Self> {
        let files = Ext4::load_from_path(image);
        Ok(Files(files.with_context(|| {
            format!("{} is no ext4", image.display())
        })?))
    }

    /// Reads a file; `None` if it does not exist.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match self.0.read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Ext4Error::NotFound) => Ok(None),
            Err(error) => Err(error).with_context(|| path.to_owned()),
        }
    }
}

/// The files that agent and RecoveryOS keep on mnt.
#[derive(Debug)]
pub struct MntFiles {
    files: Files,
    layout: Layout,
}

impl MntFiles {
    /// Opens the file system in a file.
    pub fn open(image: &Path) -> Result<Self> {
        Ok(MntFiles {
            files: Files::open(image)?,
            layout: Layout::new(Path::new(MNT)),
        })
    }

    /// Reads a file of the layout; `None` if it does not exist.
    pub fn read(&self, path: impl FnOnce(&Layout) -> PathBuf) -> Result<Option<Vec<u8>>> {
        self.files.read(&Handoff::inside(&path(&self.layout))?)
    }

    /// Returns the current job.
    pub fn job(&self) -> Result<Option<Job>> {
        self.parse(Layout::job)
    }

    /// Returns the current job, or the job with this id if it was put aside.
    pub fn job_or_result(&self, id: i64) -> Result<Option<Job>> {
        match self.job()? {
            Some(job) => Ok(Some(job)),
            None => self.parse(|layout| layout.result(id)),
        }
    }

    fn parse(&self, path: impl FnOnce(&Layout) -> PathBuf) -> Result<Option<Job>> {
        let path = path(&self.layout);
        let bytes = self.files.read(&Handoff::inside(&path)?)?;
        bytes
            .map(|bytes| serde_json::from_slice(&bytes))
            .transpose()
            .with_context(|| format!("{} holds no job", path.display()))
    }
}
