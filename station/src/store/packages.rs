//! The packages for terminals.

use dau_package::{Manifest, Signer};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sql::{params, Row};
use super::{locks, Read, Result, Write};
use crate::{clock, words};

/// A package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// The package's id.
    pub id: i64,
    /// File name.
    pub name: String,
    /// Product that it is for.
    pub product: String,
    /// Version after the upgrade.
    pub version: String,
    /// The word of its [`dau_model::Kind`]; of a delta, that of what it makes.
    #[schema(schema_with = words::kinds)]
    pub kind: String,
    /// Time of its making, RFC 3339.
    pub created: String,
    /// Rollback index; terminals refuse a lower one than that of the installed package.
    pub rollback_index: u64,
    /// SHA-256 of `manifest.json`.
    pub manifest_sha256: String,
    /// SHA-256 of the file.
    pub file_sha256: String,
    /// MD5 of the file.
    pub file_md5: String,
    /// Size in bytes.
    pub size: u64,
    /// Of a delta: SHA-256 of the manifest of the package that it starts from, else null.
    #[serde(default)]
    pub base: Option<String>,
    /// Of a delta: SHA-256 of the manifest of the package that it makes, else null.
    #[serde(default)]
    pub target: Option<String>,
    /// Subject of the signer's certificate.
    pub signer: String,
    /// SHA-256 of the signer's certificate.
    pub signer_fingerprint: String,
    /// Name of the REST token that uploaded it.
    pub uploaded_by: String,
    /// Time of the upload, RFC 3339.
    pub uploaded_at: String,
}

/// Size and digests of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDigests {
    /// Size in bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
    /// Lower-case hex.
    pub md5: String,
}

/// A package that was verified.
#[derive(Debug, Clone)]
pub struct Genuine {
    pub manifest: Manifest,
    /// Lower-case hex.
    pub manifest_sha256: String,
    pub signer: Signer,
}

/// Returns the file name of a package, the same from every builder.
fn file_name(manifest: &Manifest) -> String {
    let Manifest {
        product,
        version,
        kind,
        ..
    } = manifest;
    match &manifest.delta {
        None => format!("dau-{product}-{version}-{kind}.dau"),
        Some(delta) => {
            let base = delta.base.get(..8).unwrap_or_default();
            format!("dau-{product}-{version}-{kind}-from-{base}.delta.dau")
        }
    }
}

const COLUMNS: &str =
    "id, name, product, version, kind, created, rollback_index, manifest_sha256, \
    file_sha256, file_md5, size, signer, signer_fingerprint, uploaded_by, uploaded_at, base, target";

impl Package {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Package {
            id: row.get(0)?,
            name: row.get(1)?,
            product: row.get(2)?,
            version: row.get(3)?,
            kind: row.get(4)?,
            created: row.get(5)?,
            rollback_index: row.get::<i64>(6)? as u64,
            manifest_sha256: row.get(7)?,
            file_sha256: row.get(8)?,
            file_md5: row.get(9)?,
            size: row.get::<i64>(10)? as u64,
            signer: row.get(11)?,
            signer_fingerprint: row.get(12)?,
            uploaded_by: row.get(13)?,
            uploaded_at: clock::text(row.get(14)?),
            base: row.get(15)?,
            target: row.get(16)?,
        })
    }
}

/// Adds a package, or finds the same file. Returns true if it is new or had been removed.
pub fn add(
    w: &Write<'_>,
    now: i64,
    by: &str,
    verified: &Genuine,
    file: &FileDigests,
) -> Result<(Package, bool)> {
    let manifest = &verified.manifest;
    let added = w.execute(
        "INSERT INTO packages (name, product, version, kind, created, rollback_index, \
         manifest_sha256, file_sha256, file_md5, size, signer, signer_fingerprint, \
         uploaded_by, uploaded_at, base, target) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
         ?, ?, ?, ?, ?, ?) ON CONFLICT (file_sha256) DO UPDATE SET removed_at = NULL, \
         uploaded_by = excluded.uploaded_by, uploaded_at = excluded.uploaded_at WHERE \
         packages.removed_at IS NOT NULL",
        params![
            file_name(manifest),
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
            now,
            manifest.delta.as_ref().map(|delta| &delta.base),
            manifest.delta.as_ref().map(|delta| &delta.target)
        ],
    )?;
    let sql = format!("SELECT {COLUMNS} FROM packages WHERE file_sha256 = ?");
    let package = w.one(&sql, params![&file.sha256], Package::from_row)?;
    Ok((package, added == 1))
}

/// Returns the package with this id, unless it was removed.
pub fn get(r: &Read<'_>, id: i64) -> Result<Option<Package>> {
    r.optional(
        &format!("SELECT {COLUMNS} FROM packages WHERE id = ? AND removed_at IS NULL"),
        params![id],
        Package::from_row,
    )
}

/// Returns the package with this id, unless it was removed; it is not removed until the transaction
/// ends.
pub fn keep(w: &Write<'_>, id: i64) -> Result<Option<Package>> {
    locked(w, id, &locks::keep(w, "packages"))
}

fn locked(w: &Write<'_>, id: i64, lock: &str) -> Result<Option<Package>> {
    let sql = format!("SELECT {COLUMNS} FROM packages WHERE id = ? AND removed_at IS NULL{lock}");
    w.optional(&sql, params![id], Package::from_row)
}

/// Returns the deltas to a package.
pub fn deltas(r: &Read<'_>, target: &Package) -> Result<Vec<Package>> {
    r.all(
        &format!("SELECT {COLUMNS} FROM packages WHERE target = ? AND removed_at IS NULL"),
        params![&target.manifest_sha256],
        Package::from_row,
    )
}

/// Returns all packages, newest first.
pub fn list(r: &Read<'_>) -> Result<Vec<Package>> {
    r.all(
        &format!("SELECT {COLUMNS} FROM packages WHERE removed_at IS NULL ORDER BY id DESC"),
        params![],
        Package::from_row,
    )
}

/// The effect of a package's removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// There is no such package.
    Unknown,
    /// This many unfinished jobs need it.
    Needed(i64),
    /// It is removed: its file with this SHA-256 may be deleted, and the files of these deltas that
    /// waited for their signature.
    Done(String, Vec<i64>),
}

/// Removes a package that no job needs any more.
pub fn remove(w: &Write<'_>, now: i64, id: i64) -> Result<Removed> {
    let Some(package) = locked(w, id, locks::exclude(w))? else {
        return Ok(Removed::Unknown);
    };
    let needed = "SELECT (SELECT count(*) FROM jobs WHERE package = ?1 AND state != 'finished') \
        + (SELECT count(*) FROM jobs WHERE offered = ?1 AND package != ?1 \
        AND state NOT IN ('queued', 'finished')) \
        + (SELECT count(*) FROM orders WHERE package = ?1 AND state = 'making') \
        + (SELECT count(*) FROM rollouts WHERE package = ?1 AND state != 'ended')";
    let needed: i64 = w.one(needed, params![id], |row| row.get(0))?;
    if needed > 0 {
        return Ok(Removed::Needed(needed));
    }
    w.execute(
        "UPDATE packages SET removed_at = ? WHERE id = ?",
        params![now, id],
    )?;
    let deltas = super::deltas::remove_of(w, id)?;
    Ok(Removed::Done(package.file_sha256, deltas))
}
