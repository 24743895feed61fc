//! Files of an ext4 file system, accessed with debugfs and without mounting.

use std::io::Write;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use tempfile::NamedTempFile;

use crate::process::{run, tool};

/// An ext4 file system, read and changed with debugfs.
#[derive(Debug)]
pub struct Ext4 {
    target: String,
    _copy: Option<NamedTempFile>,
}

impl Ext4 {
    /// Opens the file system in an image file.
    pub fn image(path: &Path) -> Result<Self> {
        Self::open(path.display().to_string(), None)
    }

    /// Opens the file system at a byte offset of a disk.
    pub(super) fn partition(disk: &Path, start: u64) -> Result<Self> {
        Self::open(format!("{}?offset={start}", disk.display()), None)
    }

    /// Opens the file system in a temporary copy.
    pub(super) fn copy(copy: NamedTempFile) -> Result<Self> {
        Self::open(copy.path().display().to_string(), Some(copy))
    }

    fn open(target: String, copy: Option<NamedTempFile>) -> Result<Self> {
        let ext4 = Ext4 {
            target,
            _copy: copy,
        };
        ext4.replay_journal()?;
        Ok(ext4)
    }

    fn replay_journal(&self) -> Result<()> {
        let output = tool("e2fsck")
            .args(["-y", "-E", "journal_only", &self.target])
            .output()?;
        // 0: nothing to do, 1: repaired.
        let replayed = output.status.code().is_some_and(|code| code <= 1);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(replayed, "e2fsck cannot replay the journal: {said}");
        Ok(())
    }

    /// Runs debugfs commands and returns their output.
    fn debugfs(&self, write: bool, commands: &str) -> Result<Vec<u8>> {
        let mut script = NamedTempFile::new()?;
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

    /// Reads a file; `None` if it does not exist.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        if !self.exists(path)? {
            return Ok(None);
        }
        let copy = NamedTempFile::new()?;
        self.debugfs(false, &format!("dump {path} {}\n", copy.path().display()))?;
        Ok(Some(std::fs::read(copy.path())?))
    }

    /// Reads a text file; an error if it does not exist.
    pub fn text(&self, path: &str) -> Result<String> {
        let bytes = self
            .read(path)?
            .with_context(|| format!("{path} is missing"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Tells whether `path` exists.
    pub fn exists(&self, path: &str) -> Result<bool> {
        let said = self.debugfs(false, &format!("stat {path}\n"))?;
        Ok(String::from_utf8_lossy(&said).contains("Inode:"))
    }

    /// Lists the names in a folder.
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

    /// Returns owner, group and mode (octal, without the type) of a file, as debugfs prints them.
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

    /// Creates or replaces a file; `mode` in octal with its type, such as `0100644`. It belongs to
    /// root.
    pub fn write(&self, path: &str, content: &[u8], mode: &str) -> Result<()> {
        let mut file = NamedTempFile::new()?;
        file.write_all(content)?;
        self.put(path, file.path(), mode)?;
        ensure!(
            self.read(path)?.as_deref() == Some(content),
            "{path} does not read back"
        );
        Ok(())
    }

    /// Creates or replaces a file with the content of `source`.
    pub fn put(&self, path: &str, source: &Path, mode: &str) -> Result<()> {
        let (folder, name) = path.rsplit_once('/').context("a path begins with /")?;
        let source = source.display();
        self.debugfs(
            true,
            &format!(
                "cd {folder}/\nrm {name}\nwrite {source} {name}\nsif {name} mode {mode}\n\
                 sif {name} uid 0\nsif {name} gid 0\n"
            ),
        )?;
        Ok(())
    }

    /// Creates the missing folders above `path`.
    pub fn make_parents(&self, path: &str) -> Result<()> {
        for (end, _) in path.match_indices('/').skip(1) {
            let folder = &path[..end];
            if !self.exists(folder)? {
                self.debugfs(true, &format!("mkdir {folder}\n"))?;
            }
        }
        Ok(())
    }

    /// Removes a file if it exists.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.debugfs(true, &format!("rm {path}\n")).map(drop)
    }

    /// Checks the file system without repairing it.
    pub fn check(&self) -> Result<()> {
        run(tool("e2fsck").args(["-f", "-n", &self.target])).map(drop)
    }
}
