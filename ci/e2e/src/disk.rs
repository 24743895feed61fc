//! What stands on a terminal's disk while it is off; everything by an ordinary user, nothing mounted.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use dau_boot_state::{newest, BootState, COPY_NAMES};
use dau_handoff::{History, Job, Layout, MNT};
use serde::Deserialize;

use crate::process::{run, tool};

/// A disk image with a GPT.
#[derive(Debug, Clone)]
pub struct Disk {
    path: PathBuf,
}

/// Where a partition lies on its disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// Length.
    pub size: u64,
}

/// Output of `sfdisk -J`, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
struct Table {
    partitiontable: Partitions,
}

#[derive(Deserialize)]
struct Partitions {
    sectorsize: u64,
    partitions: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    start: u64,
    size: u64,
    #[serde(default)]
    name: String,
}

impl Disk {
    /// The disk in a file.
    pub fn new(path: PathBuf) -> Self {
        Disk { path }
    }

    /// A copy of this disk's file that takes no room where there are zeros.
    pub fn copy_to(&self, path: &Path) -> Result<Disk> {
        run(tool("cp")
            .args(["--sparse=always"])
            .arg(&self.path)
            .arg(path))?;
        Ok(Disk::new(path.to_owned()))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the partition labelled `label` lies.
    pub fn partition(&self, label: &str) -> Result<Extent> {
        let output = run(tool("sfdisk").arg("-J").arg(&self.path))?;
        let table: Table = serde_json::from_slice(&output.stdout)?;
        let table = table.partitiontable;
        let entry = table.partitions.iter().find(|entry| entry.name == label);
        let entry =
            entry.with_context(|| format!("{} has no partition '{label}'", self.path.display()))?;
        Ok(Extent {
            start: entry.start * table.sectorsize,
            size: entry.size * table.sectorsize,
        })
    }

    /// A file on the FAT partition labelled boot; `None` where there is none.
    pub fn boot_file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let extent = self.partition(dau_system::BOOT_LABEL)?;
        let image = format!("{}@@{}", self.path.display(), extent.start);
        let output = tool("mtype")
            .args(["-i", &image, &format!("::{name}")])
            .output()?;
        if output.status.success() {
            return Ok(Some(output.stdout));
        }
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            message.contains("not found"),
            "cannot read {name} from boot: {message}"
        );
        Ok(None)
    }

    /// The boot state that counts; an error when neither copy is valid.
    pub fn boot_state(&self) -> Result<BootState> {
        let mut copies = Vec::new();
        for name in COPY_NAMES {
            let bytes = self.boot_file(name)?.unwrap_or_default();
            copies.push(BootState::decode(&bytes).ok());
        }
        let index = newest(copies[0].as_ref(), copies[1].as_ref());
        let state = index.and_then(|index| copies.swap_remove(index));
        state.context("neither copy of the boot state is valid")
    }

    /// Checks the FAT file system without mending it.
    pub fn check_boot(&self) -> Result<()> {
        let extent = self.partition(dau_system::BOOT_LABEL)?;
        let copy = self.extract(extent)?;
        run(tool("fsck.fat").arg("-n").arg(copy.path()))?;
        Ok(())
    }

    /// A file of the ext4 partition `label` of a terminal that may have lost power: read from a copy whose journal was
    /// replayed, so this disk stays as it is.
    pub fn ext4(&self, label: &str) -> Result<Ext4> {
        let extent = self.partition(label)?;
        let copy = self.extract(extent)?;
        let ext4 = Ext4 {
            target: copy.path().display().to_string(),
            _copy: Some(copy),
        };
        ext4.replay_journal()?;
        Ok(ext4)
    }

    /// The ext4 partition `label` itself, to be changed. Its journal is replayed first.
    pub fn ext4_in_place(&self, label: &str) -> Result<Ext4> {
        let extent = self.partition(label)?;
        let ext4 = Ext4 {
            target: format!("{}?offset={}", self.path.display(), extent.start),
            _copy: None,
        };
        ext4.replay_journal()?;
        Ok(ext4)
    }

    /// What agent and RecoveryOS left on mnt.
    pub fn handoff(&self) -> Result<Handoff> {
        Ok(Handoff {
            mnt: self.ext4(dau_system::MNT_LABEL)?,
            layout: Layout::new(Path::new(MNT)),
        })
    }

    /// The first `length` bytes of the partition `label`.
    pub fn read(&self, label: &str, length: u64) -> Result<Vec<u8>> {
        let extent = self.partition(label)?;
        ensure!(
            length <= extent.size,
            "{label} is smaller than {length} bytes"
        );
        let mut bytes = vec![0; usize::try_from(length)?];
        File::open(&self.path)?.read_exact_at(&mut bytes, extent.start)?;
        Ok(bytes)
    }

    /// A sparse copy of a partition.
    fn extract(&self, extent: Extent) -> Result<tempfile::NamedTempFile> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let copy = tempfile::NamedTempFile::new_in(folder)?;
        let mut command = tool("dd");
        command
            .args(["bs=1M", "conv=sparse", "iflag=skip_bytes,count_bytes"])
            .arg(format!("if={}", self.path.display()))
            .arg(format!("of={}", copy.path().display()))
            .arg(format!("skip={}", extent.start))
            .arg(format!("count={}", extent.size));
        run(&mut command)?;
        Ok(copy)
    }
}

/// An ext4 file system that is read and changed by debugfs.
#[derive(Debug)]
pub struct Ext4 {
    target: String,
    _copy: Option<tempfile::NamedTempFile>,
}

impl Ext4 {
    /// The file system in an image file.
    pub fn image(path: &Path) -> Result<Self> {
        let ext4 = Ext4 {
            target: path.display().to_string(),
            _copy: None,
        };
        ext4.replay_journal()?;
        Ok(ext4)
    }

    fn replay_journal(&self) -> Result<()> {
        let output = tool("e2fsck")
            .args(["-y", "-E", "journal_only", &self.target])
            .output()?;
        // 0: nothing to do, 1: something was mended.
        let replayed = output.status.code().is_some_and(|code| code <= 1);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(replayed, "e2fsck cannot replay the journal: {said}");
        Ok(())
    }

    /// Runs debugfs commands; what it prints on its standard output.
    fn debugfs(&self, write: bool, commands: &str) -> Result<Vec<u8>> {
        let mut script = tempfile::NamedTempFile::new()?;
        script.write_all(commands.as_bytes())?;
        let mut command = tool("debugfs");
        if write {
            command.arg("-w");
        }
        command.arg("-f").arg(script.path()).arg(&self.target);
        let output = run(&mut command)?;
        let errors: Vec<String> = String::from_utf8_lossy(&output.stderr)
            .lines()
            .filter(|line| !line.starts_with("debugfs 1.") && !line.contains("File not found"))
            .map(str::to_owned)
            .collect();
        ensure!(errors.is_empty(), "debugfs: {}", errors.join("; "));
        Ok(output.stdout)
    }

    /// A file's content; `None` where there is none.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        if !self.exists(path)? {
            return Ok(None);
        }
        let copy = tempfile::NamedTempFile::new()?;
        self.debugfs(false, &format!("dump {path} {}\n", copy.path().display()))?;
        Ok(Some(std::fs::read(copy.path())?))
    }

    /// A text file's content; an error where there is none.
    pub fn text(&self, path: &str) -> Result<String> {
        let bytes = self
            .read(path)?
            .with_context(|| format!("{path} is missing"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether `path` exists.
    pub fn exists(&self, path: &str) -> Result<bool> {
        let said = self.debugfs(false, &format!("stat {path}\n"))?;
        Ok(String::from_utf8_lossy(&said).contains("Inode:"))
    }

    /// Names in a folder.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        let said = self.debugfs(false, &format!("ls -p {path}\n"))?;
        // /inode/mode/uid/gid/name/size/
        let name = |line: &str| line.split('/').nth(5).map(str::to_owned);
        let names = String::from_utf8_lossy(&said)
            .lines()
            .filter_map(name)
            .collect::<Vec<_>>();
        Ok(names
            .into_iter()
            .filter(|name| !matches!(name.as_str(), "" | "." | ".."))
            .collect())
    }

    /// Owner, group and mode (octal, type included) of a file, as debugfs prints them.
    pub fn owner_and_mode(&self, path: &str) -> Result<String> {
        let said =
            String::from_utf8_lossy(&self.debugfs(false, &format!("stat {path}\n"))?).into_owned();
        let words: Vec<&str> = said.split_ascii_whitespace().collect();
        let after = |word: &str| {
            let at = words.iter().position(|found| *found == word);
            at.and_then(|at| words.get(at + 1)).copied().unwrap_or("?")
        };
        Ok(format!(
            "{}:{} {}",
            after("User:"),
            after("Group:"),
            after("Mode:")
        ))
    }

    /// Creates or replaces a file; `mode` in octal with its type, such as `0100644`. It belongs to root.
    pub fn write(&self, path: &str, content: &[u8], mode: &str) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(content)?;
        self.put(path, file.path(), mode)?;
        ensure!(
            self.read(path)?.as_deref() == Some(content),
            "{path} does not read back"
        );
        Ok(())
    }

    /// Creates or replaces a file by the content of another.
    pub fn put(&self, path: &str, source: &Path, mode: &str) -> Result<()> {
        let (folder, name) = path.rsplit_once('/').context("a path begins with /")?;
        let source = source.display();
        self.debugfs(
            true,
            &format!(
                "cd {folder}/\nrm {name}\nwrite {source} {name}\nsif {name} mode {mode}\nsif {name} uid 0\nsif {name} gid 0\n"
            ),
        )?;
        Ok(())
    }

    /// Creates the folders above `path` that are missing.
    pub fn make_parents(&self, path: &str) -> Result<()> {
        for (end, _) in path.match_indices('/').skip(1) {
            let folder = &path[..end];
            if !self.exists(folder)? {
                self.debugfs(true, &format!("mkdir {folder}\n"))?;
            }
        }
        Ok(())
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.debugfs(true, &format!("rm {path}\n")).map(drop)
    }

    /// Checks the file system without mending it; fails when something is wrong.
    pub fn check(&self) -> Result<()> {
        run(tool("e2fsck").args(["-f", "-n", &self.target])).map(drop)
    }
}

/// The folder `dau` of a terminal's mnt.
#[derive(Debug)]
pub struct Handoff {
    mnt: Ext4,
    layout: Layout,
}

impl Handoff {
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
