//! The parameters, kept on mnt and read back before anything is changed.

use std::path::PathBuf;

use dau_handoff::parameters::{self, ParameterSet};
use dau_handoff::ParametersRecord;

use crate::ending::Ending;

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
    pub fn run(&self) -> Result<ParametersRecord, Ending> {
        let fail = |error: parameters::ParametersError| {
            Ending::failed(
                "backup",
                format!("the parameters cannot be backed up: {error}"),
            )
        };
        let set = ParameterSet::load(&self.root, &self.lists).map_err(fail)?;
        let record =
            parameters::backup(&self.root, &set, &self.tar, &self.digest_file).map_err(fail)?;
        parameters::read_back(&self.tar, &self.digest_file, &record).map_err(fail)?;
        log::info!("{} parameters are backed up and read back", record.entries);
        Ok(record)
    }
}
