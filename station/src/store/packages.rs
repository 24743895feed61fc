//! The packages that terminals may be given.

use dau_package::{PackageKind, Verified};
use rusqlite::{params, Connection, OptionalExtension, Result, Row};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Write;
use crate::clock;

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// The station's number for it.
    pub id: i64,
    /// File name.
    pub name: String,
    /// What it fits.
    pub product: String,
    /// Version after the upgrade.
    pub version: String,
    /// `kernel`, `rootfs`, `full` or `recovery`.
    pub kind: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Terminals refuse packages with a lower index than that of the installed one.
    pub rollback_index: u64,
    /// SHA-256 of `manifest.json`.
    pub manifest_sha256: String,
    /// SHA-256 of the file.
    pub file_sha256: String,
    /// MD5 of the file.
    pub file_md5: String,
    /// Bytes.
    pub size: u64,
    /// Subject of the signer's certificate.
    pub signer: String,
    /// SHA-256 of the signer's certificate.
    pub signer_fingerprint: String,
    /// Whose REST token brought it.
    pub uploaded_by: String,
    /// RFC 3339.
    pub uploaded_at: String,
}

/// Size and digests of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDigests {
    /// Bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
    /// Lower-case hex.
    pub md5: String,
}

/// The file name of a package, as every builder names it.
pub fn file_name(product: &str, version: &str, kind: PackageKind) -> String {
    format!("dau-{product}-{version}-{kind}.dau")
}

const COLUMNS: &str =
    "id, name, product, version, kind, created, rollback_index, manifest_sha256, \
    file_sha256, file_md5, size, signer, signer_fingerprint, uploaded_by, uploaded_at";

impl Package {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Package {
            id: row.get(0)?,
            name: row.get(1)?,
            product: row.get(2)?,
            version: row.get(3)?,
            kind: row.get(4)?,
            created: row.get(5)?,
            rollback_index: row.get::<_, i64>(6)? as u64,
            manifest_sha256: row.get(7)?,
            file_sha256: row.get(8)?,
            file_md5: row.get(9)?,
            size: row.get::<_, i64>(10)? as u64,
            signer: row.get(11)?,
            signer_fingerprint: row.get(12)?,
            uploaded_by: row.get(13)?,
            uploaded_at: clock::text(row.get(14)?),
        })
    }
}

/// Adds a package; the same file again gives the one that is there. True where it is new, or was removed before.
pub fn add(
    w: &Write<'_>,
    now: i64,
    by: &str,
    verified: &Verified,
    file: &FileDigests,
) -> Result<(Package, bool)> {
    let manifest = &verified.manifest;
    let added = w.execute(
        "INSERT INTO packages (name, product, version, kind, created, rollback_index, manifest_sha256, \
         file_sha256, file_md5, size, signer, signer_fingerprint, uploaded_by, uploaded_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (file_sha256) \
         DO UPDATE SET removed_at = NULL, uploaded_by = excluded.uploaded_by, uploaded_at = excluded.uploaded_at \
         WHERE removed_at IS NOT NULL",
        params![
            file_name(&manifest.product, &manifest.version, manifest.kind),
            manifest.product,
            manifest.version,
            manifest.kind.word(),
            manifest.created,
            manifest.rollback_index as i64,
            verified.manifest_sha256,
            file.sha256,
            file.md5,
            file.size as i64,
            verified.signer.subject,
            verified.signer.fingerprint_sha256,
            by,
            now
        ],
    )?;
    let sql = format!("SELECT {COLUMNS} FROM packages WHERE file_sha256 = ?");
    let package = w.query_row(&sql, [&file.sha256], Package::from_row)?;
    Ok((package, added == 1))
}

/// The package with this number, unless it was removed.
pub fn get(connection: &Connection, id: i64) -> Result<Option<Package>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM packages WHERE id = ? AND removed_at IS NULL"
        ))?
        .query_row([id], Package::from_row)
        .optional()
}

/// All packages, newest first.
pub fn list(connection: &Connection) -> Result<Vec<Package>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM packages WHERE removed_at IS NULL ORDER BY id DESC"
        ))?
        .query_map([], Package::from_row)?
        .collect()
}

/// What became of a request to remove a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// There is no such package.
    Unknown,
    /// So many jobs that are not over need it.
    Needed(i64),
    /// It is gone; its file, with this SHA-256, can go.
    Done(String),
}

/// Removes a package that no job needs any more.
pub fn remove(w: &Write<'_>, now: i64, id: i64) -> Result<Removed> {
    let Some(package) = get(w, id)? else {
        return Ok(Removed::Unknown);
    };
    let needed = "SELECT count(*) FROM jobs WHERE package = ? AND state != 'finished'";
    let needed: i64 = w.query_row(needed, [id], |row| row.get(0))?;
    if needed > 0 {
        return Ok(Removed::Needed(needed));
    }
    w.execute(
        "UPDATE packages SET removed_at = ? WHERE id = ?",
        params![now, id],
    )?;
    Ok(Removed::Done(package.file_sha256))
}
