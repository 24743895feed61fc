//! REST resources of packages.

use std::fs;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{header, HeaderMap, StatusCode};
use axum::Json;
use dau_model::hex;
use dau_package::delta::Delta;
use dau_package::{Head, Keyring, PackageError, Verified};
use futures_util::{stream, StreamExt};
use log::{info, warn};
use md5::{Digest, Md5};
use openssl::sha::Sha256;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use utoipa::ToSchema;

use super::auth::Operator;
use super::error::Problem;
use super::extract::PathId;
use super::Station;
use crate::clock;
use crate::store::deltas;
use crate::store::events::{self, kind, Subject};
use crate::store::packages::{self, FileDigests, Genuine, Package, Removed};

/// Bytes read at a time of a file of the station's own.
const CHUNK: usize = 256 << 10;

/// A list of packages.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Packages {
    /// Newest first.
    pub packages: Vec<Package>,
}

/// Uploads a package, or a delta to one, whose base and target need not be there. The station verifies it against its keyring and keeps it only if it is valid.
/// A file that is there already is answered with 200 and the existing package.
#[utoipa::path(
    post, path = "/packages", tag = "packages", security(("bearer" = [])),
    request_body(content = String, content_type = "application/octet-stream", description = "The .dau file"),
    responses(
        (status = 201, description = "Taken in", body = Package),
        (status = 200, description = "It was there already", body = Package),
        (status = 413, description = "Larger than api.max_package_bytes", body = Problem),
        (status = 422, description = "Refused; `error` is the word of the reason, e.g. \
            signer-unknown", body = Problem),
    )
)]
pub async fn upload(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Package>), Problem> {
    let limit = station.config.api.max_package_bytes;
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|size: u64| size > limit) {
        return Err(too_large(limit));
    }
    let (file, digests) = receive(&station, body, limit).await?;
    let (package, new) = keep_verified(&station, by, file, digests).await?;
    let status = match new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok((status, Json(package)))
}

/// Takes in a file of the station's own like an upload. Returns true if it is new.
pub async fn take_in(station: &Station, by: &str, path: &Path) -> Result<(Package, bool), Problem> {
    let unreadable = |error: io::Error| Problem::io("the package cannot be read", &error);
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let body = Body::from_stream(stream::try_unfold(file, |mut file| async {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = (&mut file)
            .take(CHUNK as u64)
            .read_to_end(&mut chunk)
            .await?;
        Ok::<_, io::Error>((read > 0).then_some((Bytes::from(chunk), file)))
    }));
    let (file, digests) = receive(station, body, station.config.api.max_package_bytes).await?;
    keep_verified(station, by.to_owned(), file, digests).await
}

/// Verifies a package and keeps it. Returns true if it is new.
async fn keep_verified(
    station: &Station,
    by: String,
    file: NamedTempFile,
    digests: FileDigests,
) -> Result<(Package, bool), Problem> {
    let (file, verified) = verify(station, file).await?;
    let path = station.package_path(&digests.sha256);
    // One at a time, so that a failing upload does not remove the file of a concurrent upload of
    // the same package.
    let _turn = station.keeping.lock().await;
    let was_there = tokio::fs::try_exists(&path).await.unwrap_or(true);
    keep(file, path.clone()).await?;
    let added = station.store.write(move |w| {
        let now = clock::now();
        let (package, new) = packages::add(w, now, &by, &verified, &digests)?;
        if new {
            let subject = Subject {
                package: Some(package.id),
                ..Subject::default()
            };
            events::add(w, now, subject, kind::UPLOADED, &json!(package))?;
        }
        let arrived = deltas::arrived(w, now, &package)?;
        Ok::<_, Problem>((package, new, arrived))
    });
    let (package, new, arrived) = match added.await {
        Ok(added) => added,
        Err(problem) => {
            if !was_there {
                let _ = tokio::fs::remove_file(&path).await;
            }
            return Err(problem);
        }
    };
    for delta in arrived {
        let _ = tokio::fs::remove_file(station.unsigned_path(delta)).await;
    }
    info!("package {} is {} (new: {new})", package.id, package.name);
    Ok((package, new))
}

fn too_large(limit: u64) -> Problem {
    let message = format!("the package has more than {limit} bytes (api.max_package_bytes)");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
}

/// Writes the body to a temporary file.
async fn receive(
    station: &Station,
    body: Body,
    limit: u64,
) -> Result<(NamedTempFile, FileDigests), Problem> {
    let unwritable = |error: io::Error| Problem::io("the upload cannot be written", &error);
    let file = NamedTempFile::new_in(station.incoming_dir()).map_err(unwritable)?;
    let handle = file.as_file().try_clone().map_err(unwritable)?;
    let mut writer =
        tokio::io::BufWriter::with_capacity(256 << 10, tokio::fs::File::from_std(handle));
    let (mut sha256, mut md5, mut size) = (Sha256::new(), Md5::new(), 0_u64);
    let mut stream = body.into_data_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk
            .map_err(|error| Problem::bad_request(format!("the upload broke off: {error}")))?;
        size = chunk
            .len()
            .try_into()
            .map_or(u64::MAX, |more| size.saturating_add(more));
        if size > limit {
            return Err(too_large(limit));
        }
        sha256.update(&chunk);
        md5.update(&chunk);
        writer.write_all(&chunk).await.map_err(unwritable)?;
    }
    writer.flush().await.map_err(unwritable)?;
    writer.get_ref().sync_all().await.map_err(unwritable)?;
    let digests = FileDigests {
        size,
        sha256: hex::encode(sha256.finish()),
        md5: hex::encode(md5.finalize()),
    };
    Ok((file, digests))
}

async fn verify(
    station: &Station,
    file: NamedTempFile,
) -> Result<(NamedTempFile, Genuine), Problem> {
    let _turn = station.verifications.acquire().await;
    let dir = station.config.keyring.clone();
    let verified = tokio::task::spawn_blocking(move || {
        // Loaded each time, so that a revocation takes effect at once.
        let keyring = Keyring::load(&dir).map_err(|error| Problem::keyring(&error))?;
        let verified = genuine(file.as_file(), &keyring).map_err(|error| refused(&error))?;
        verified
            .manifest
            .check_created_by(clock::now())
            .map_err(|error| refused(&error.into()))?;
        Ok((file, verified))
    });
    verified.await.map_err(Problem::internal)?
}

/// Verifies a whole package or a delta.
fn genuine(mut file: &fs::File, keyring: &Keyring) -> Result<Genuine, PackageError> {
    file.rewind()?;
    let head = Head::read_from(file)?;
    file.rewind()?;
    if head.manifest.delta.is_none() {
        let Verified {
            manifest,
            manifest_sha256,
            signer,
            ..
        } = dau_package::verify_whole(file, keyring, &mut |_, _| Ok(()))?;
        return Ok(Genuine {
            manifest,
            manifest_sha256,
            signer,
        });
    }
    let delta = Delta::verify(file.try_clone()?, keyring, &mut |_, _| Ok(()))?;
    Ok(Genuine {
        manifest: delta.manifest().clone(),
        manifest_sha256: delta.manifest_sha256().to_owned(),
        signer: head.verify(keyring)?,
    })
}

fn refused(error: &PackageError) -> Problem {
    if !error.is_refusal() {
        return Problem::internal(error);
    }
    warn!("package refused: {error}");
    let message = format!("the package is refused: {error}");
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        error.word().as_str(),
        message,
    )
}

/// Verifies a stored package against the current keyring.
pub async fn judge_again(station: &Station, package: &Package) -> Result<(), Problem> {
    let (dir, path) = (
        station.config.keyring.clone(),
        station.package_path(&package.file_sha256),
    );
    let id = package.id;
    let judged = tokio::task::spawn_blocking(move || {
        let keyring = Keyring::load(&dir).map_err(|error| Problem::keyring(&error))?;
        let unreadable = |error| Problem::io(&format!("package {id} cannot be read"), &error);
        let file = fs::File::open(path).map_err(unreadable)?;
        let head = Head::read_from(file).map_err(|error| match error {
            PackageError::Io(error) => unreadable(error),
            PackageError::Truncated { .. } => {
                Problem::internal(format!("package {id} is cut short"))
            }
            error => refused(&error),
        })?;
        head.verify(&keyring).map(drop).map_err(|error| {
            let text = format!(
                "package {id} cannot be ordered any more: {error}; remove it if it is a delta"
            );
            Problem::conflict(error.word().as_str(), text)
        })
    });
    judged.await.map_err(Problem::internal)?
}

/// Moves the file to its place, durably.
async fn keep(file: NamedTempFile, path: PathBuf) -> Result<(), Problem> {
    let kept = tokio::task::spawn_blocking(move || {
        file.persist(&path).map_err(|error| error.error)?;
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::File::open(dir)?.sync_all()
    });
    kept.await
        .map_err(Problem::internal)?
        .map_err(|error| Problem::io("the package cannot be kept", &error))
}

/// Lists the packages.
#[utoipa::path(
    get, path = "/packages", tag = "packages", security(("bearer" = [])),
    responses((status = 200, body = Packages))
)]
pub async fn list(
    State(station): State<Arc<Station>>,
    _operator: Operator,
) -> Result<Json<Packages>, Problem> {
    let packages = station.store.read(|c| Ok::<_, Problem>(packages::list(c)?));
    Ok(Json(Packages {
        packages: packages.await?,
    }))
}

/// Shows a package.
#[utoipa::path(
    get, path = "/packages/{id}", tag = "packages", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The package's number")),
    responses((status = 200, body = Package), (status = 404, body = Problem))
)]
pub async fn show(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    PathId(id): PathId,
) -> Result<Json<Package>, Problem> {
    let package = station
        .store
        .read(move |c| Ok::<_, Problem>(packages::get(c, id)?));
    let package = package.await?;
    package
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no package {id}")))
}

/// Removes a package that no job needs any more.
#[utoipa::path(
    delete, path = "/packages/{id}", tag = "packages", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The package's number")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, body = Problem),
        (status = 409, description = "`in-use`: jobs that are not over need it", body = Problem),
    )
)]
pub async fn remove(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    PathId(id): PathId,
) -> Result<StatusCode, Problem> {
    let removed = station.store.write(move |w| {
        let now = clock::now();
        let removed = packages::remove(w, now, id)?;
        if matches!(removed, Removed::Done(..)) {
            let subject = Subject {
                package: Some(id),
                ..Subject::default()
            };
            events::add(w, now, subject, kind::REMOVED, &json!({ "by": by }))?;
        }
        Ok::<_, Problem>(removed)
    });
    match removed.await? {
        Removed::Unknown => Err(Problem::not_found(format!("there is no package {id}"))),
        Removed::Needed(jobs) => Err(Problem::conflict(
            "in-use",
            format!(
                "{jobs} jobs or orders that are not over need package {id}: wait for them or call them off"
            ),
        )),
        Removed::Done(sha256, deltas) => {
            let path = station.package_path(&sha256);
            if let Err(error) = tokio::fs::remove_file(&path).await {
                warn!("{} stays: {error}", path.display());
            }
            for delta in deltas {
                let _ = tokio::fs::remove_file(station.unsigned_path(delta)).await;
            }
            Ok(StatusCode::NO_CONTENT)
        }
    }
}
