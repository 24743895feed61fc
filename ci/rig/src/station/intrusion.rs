//! Changes by an intruder in the station's files and database.

use std::fs;
use std::path::Path;

use anyhow::{ensure, Result};
use openssl::hash::{hash, MessageDigest};
use openssl::sha::sha256;
use rusqlite::{Connection, Params};

use dau_model::hex;

use super::rest::PATIENCE;
use super::Station;

impl Station {
    /// Deletes a terminal's product until it links up again, so that the station does not check
    /// orders against it.
    pub fn forget_product(&self, terminal: &str) -> Result<()> {
        self.change_row(
            "UPDATE terminals SET product = '' WHERE id = ?",
            [terminal],
            &format!("terminal {terminal}"),
        )
    }

    /// Exchanges an ordered package's file, with size and digests in the database. The station has
    /// accepted the package by then and describes the new one to the terminal.
    pub fn exchange(&self, package: i64, file: &Path) -> Result<()> {
        let bytes = fs::read(file)?;
        let (size, sha256) = (bytes.len(), hex::encode(sha256(&bytes)));
        let md5 = hex::encode(hash(MessageDigest::md5(), &bytes)?);
        let stored = format!("data/packages/{sha256}.dau");
        fs::write(self.folder().join(stored), &bytes)?;
        self.database()?.execute_batch(&format!(
            "CREATE TRIGGER exchange_{package} AFTER INSERT ON jobs WHEN NEW.package = {package} BEGIN \
             UPDATE packages SET size = {size}, file_md5 = '{md5}', file_sha256 = '{sha256}' WHERE \
             id = {package}; END"
        ))?;
        Ok(())
    }

    fn change_row(&self, sql: &str, values: impl Params, what: &str) -> Result<()> {
        let changed = self.database()?.execute(sql, values)?;
        ensure!(changed == 1, "the station's database has no {what}");
        Ok(())
    }

    fn database(&self) -> Result<Connection> {
        let database = Connection::open(self.folder().join("data/station.db"))?;
        database.busy_timeout(PATIENCE)?;
        Ok(database)
    }
}
