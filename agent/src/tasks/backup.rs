//! The parameters, kept on mnt and read back before anything is changed.

use std::path::PathBuf;

use dau_handoff::parameters::{self, ParameterSet};
use dau_handoff::ParametersRecord;
use dau_model::Word;

use crate::failure::Failure;
use crate::space;

/// Room for job, result and digest beside the backup.
const MARGIN: u64 = 256 << 10;

/// Everything that the backup needs.
#[derive(Debug)]
pub struct Backup {
    pub root: PathBuf,
    pub lists: PathBuf,
    pub tar: PathBuf,
    pub digest_file: PathBuf,
}

impl Backup {
    /// Backs up and reads back.
    pub fn run(&self) -> Result<ParametersRecord, Failure> {
        let fail = |error: parameters::ParametersError| {
            Failure::failed(
                Word::Backup,
                format!("the parameters cannot be backed up: {error}"),
            )
        };
        let set = ParameterSet::load(&self.root, &self.lists).map_err(fail)?;
        let measured = parameters::measure(&self.root, &set).map_err(fail)?;
        self.check_room(measured.archive)?;
        let record =
            parameters::backup(&self.root, &set, &self.tar, &self.digest_file).map_err(fail)?;
        parameters::read_back(&self.tar, &self.digest_file, &record).map_err(fail)?;
        log::info!("{} parameters are backed up and read back", record.entries);
        Ok(record)
    }

    fn check_room(&self, archive: u64) -> Result<(), Failure> {
        let folder = self.tar.parent().unwrap_or(&self.tar);
        let free = space::free(folder).map_err(|error| Failure::storage("mnt", error))?;
        if archive.saturating_add(MARGIN) <= free {
            return Ok(());
        }
        let text = format!(
            "the parameters take {archive} bytes, but mnt has {free}: make room there, or let the \
             lists in /etc/dau/parameters.d name less"
        );
        Err(Failure::refused(Word::NoSpace, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_mnt_has_no_room_for_is_not_begun() {
        let dir = tempfile::tempdir().unwrap();
        let backup = Backup {
            root: dir.path().to_owned(),
            lists: "/etc/dau/parameters.d".into(),
            tar: dir.path().join("7.tar"),
            digest_file: dir.path().join("7.tar.sha256"),
        };
        backup.check_room(1).unwrap();
        let failure = backup.check_room(u64::MAX).unwrap_err();
        assert_eq!(failure.reason.word, Word::NoSpace);
        assert!(
            failure.reason.message.contains("mnt has"),
            "{}",
            failure.reason
        );
    }
    #[test]
    fn a_listed_link_to_a_folder_is_no_backup() {
        let dir = tempfile::tempdir().unwrap();
        let lists = dir.path().join("etc/dau/parameters.d");
        std::fs::create_dir_all(&lists).unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        std::fs::write(lists.join("app.list"), "/etc/app\n").unwrap();
        std::os::unix::fs::symlink("/data", dir.path().join("etc/app")).unwrap();
        let backup = Backup {
            root: dir.path().to_owned(),
            lists: "/etc/dau/parameters.d".into(),
            tar: dir.path().join("7.tar"),
            digest_file: dir.path().join("7.tar.sha256"),
        };
        let reason = backup.run().unwrap_err().reason;
        assert_eq!(reason.word, Word::Backup);
        let advice =
            "/etc/app, which a parameter list names, is a link to a folder: list the folder";
        assert!(reason.message.contains(advice), "{reason}");
        assert!(!backup.tar.exists());
    }
}
