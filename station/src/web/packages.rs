//! REST: packages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{header, HeaderMap, StatusCode};
use axum::Json;
use dau_package::{Keyring, PackageError, Verified};
use futures_util::StreamExt;
use log::{info, warn};
use md5::{Digest, Md5};
use openssl::sha::Sha256;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use utoipa::ToSchema;

use super::auth::Operator;
use super::error::Problem;
use super::extract::PathId;
use super::Station;
use crate::api_tokens::hex;
use crate::clock;
use crate::store::events::{self, kind, Subject};
use crate::store::packages::{self, FileDigests, Package, Removed};

/// How long a refused upload is still read.
const DRAIN: Duration = Duration::from_secs(10);

/// All packages.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Packages {
    /// Newest first.
    pub packages: Vec<Package>,
}

/// Uploads a package. The station verifies it against its keyring and keeps it only if everything is right. The
/// same file again is answered with 200 and the package that is there.
#[utoipa::path(
    post, path = "/packages", tag = "packages", security(("bearer" = [])),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The .dau file"),
    responses(
        (status = 201, description = "Taken in", body = Package),
        (status = 200, description = "It was there already", body = Package),
        (status = 413, description = "Larger than api.max_package_bytes", body = Problem),
        (status = 422, description = "Refused; `error` is the word of the reason, e.g. signer-unknown", body = Problem),
    )
)]
pub async fn upload(
    State(station): State<Station>,
    Operator(by): Operator,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Package>), Problem> {
    let limit = station.config.api.max_package_bytes;
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|size: u64| size > limit) {
        drain(body).await;
        return Err(too_large(limit));
    }
    let (file, digests) = receive(&station, body, limit).await?;
    let (file, verified) = verify(&station, file).await?;
    let path = station.package_path(&digests.sha256);
    keep(file, path).await?;
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
        Ok::<_, Problem>((package, new))
    });
    let (package, new) = added.await?;
    info!("package {} is {} (new: {new})", package.id, package.name);
    let status = match new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok((status, Json(package)))
}

fn too_large(limit: u64) -> Problem {
    let message = format!("the package has more than {limit} bytes (api.max_package_bytes)");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
}

/// Reads on for a while: many clients look for the answer only when they have sent everything.
async fn drain(body: Body) {
    let mut stream = body.into_data_stream();
    let rest = async { while let Some(Ok(_)) = stream.next().await {} };
    let _ = tokio::time::timeout(DRAIN, rest).await;
}

/// Writes the body to a file of its own, which goes away where it is not kept.
async fn receive(
    station: &Station,
    body: Body,
    limit: u64,
) -> Result<(NamedTempFile, FileDigests), Problem> {
    let unwritable = |error: io::Error| Problem::internal(format!("upload not written: {error}"));
    let file = NamedTempFile::new_in(station.incoming_dir()).map_err(unwritable)?;
    let handle = file.as_file().try_clone().map_err(unwritable)?;
    let mut writer =
        tokio::io::BufWriter::with_capacity(256 << 10, tokio::fs::File::from_std(handle));
    let (mut sha256, mut md5, mut size) = (Sha256::new(), Md5::new(), 0);
    let mut stream = body.into_data_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk
            .map_err(|error| Problem::bad_request(format!("the upload broke off: {error}")))?;
        size += chunk.len() as u64;
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
        sha256: hex(&sha256.finish()),
        md5: hex(&md5.finalize()),
    };
    Ok((file, digests))
}

async fn verify(
    station: &Station,
    file: NamedTempFile,
) -> Result<(NamedTempFile, Verified), Problem> {
    let _turn = station.verifications.acquire().await;
    let dir = station.config.keyring.clone();
    let verified = tokio::task::spawn_blocking(move || {
        // Read each time: a signer that was revoked a moment ago counts no more.
        let keyring = Keyring::load(&dir)
            .map_err(|error| Problem::internal(format!("keyring cannot be used: {error}")))?;
        let verified = dau_package::verify(file.as_file(), &keyring, &mut |_, _| {})
            .map_err(|error| refused(&error))?;
        Ok((file, verified))
    });
    verified.await.map_err(Problem::internal)?
}

fn refused(error: &PackageError) -> Problem {
    if !error.is_refusal() {
        return Problem::internal(error);
    }
    warn!("package refused: {error}");
    let message = format!("the package is refused: {error}");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.word(), message)
}

/// Gives the file its place, durably.
async fn keep(file: NamedTempFile, path: PathBuf) -> Result<(), Problem> {
    let kept = tokio::task::spawn_blocking(move || {
        file.persist(&path).map_err(|error| error.error)?;
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::File::open(dir)?.sync_all()
    });
    kept.await
        .map_err(Problem::internal)?
        .map_err(|error| Problem::internal(format!("package not kept: {error}")))
}

/// Lists the packages.
#[utoipa::path(
    get, path = "/packages", tag = "packages", security(("bearer" = [])),
    responses((status = 200, body = Packages))
)]
pub async fn list(
    State(station): State<Station>,
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
    State(station): State<Station>,
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
    State(station): State<Station>,
    Operator(by): Operator,
    PathId(id): PathId,
) -> Result<StatusCode, Problem> {
    let removed = station.store.write(move |w| {
        let now = clock::now();
        let removed = packages::remove(w, now, id)?;
        if matches!(removed, Removed::Done(_)) {
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
                "{jobs} jobs that are not over need package {id}: wait for them or call them off"
            ),
        )),
        Removed::Done(sha256) => {
            let path = station.package_path(&sha256);
            if let Err(error) = tokio::fs::remove_file(&path).await {
                warn!("{} stays: {error}", path.display());
            }
            Ok(StatusCode::NO_CONTENT)
        }
    }
}
