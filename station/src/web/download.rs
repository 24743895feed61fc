//! Packages for terminals: `GET /packages/{id}/{name}` with the token of the order.

use std::io::SeekFrom;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{header, HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use log::warn;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::OwnedSemaphorePermit;

use super::auth::{bearer, unauthorized};
use super::egress::{Egress, Transfer};
use super::error::Problem;
use super::range::{answer, Answer};
use super::Station;
use crate::clock;
use crate::store::packages::{self, Package};
use crate::store::tokens::{self, Grant};

/// Serves a package, whole or in part.
pub async fn download(
    State(station): State<Station>,
    Path((id, name)): Path<(i64, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (grant, package) = authorize(&station, id, &headers).await?;
    if package.name != name {
        return Err(no_such_package());
    }
    let etag = format!("\"{}\"", package.file_sha256);
    let size = package.size;
    let (status, first, count) = match answer(&headers, &etag, size) {
        Answer::Whole => (StatusCode::OK, 0, size),
        Answer::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Answer::NotModified => (StatusCode::NOT_MODIFIED, 0, 0),
        Answer::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, 0, 0),
        Answer::NotSatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    let body = match status.is_success() && method != Method::HEAD {
        true => {
            let permit = station.egress.begin()?;
            let file = open(&station, &package, first).await?;
            send(
                file,
                count,
                station.egress.transfer(&grant, first, count),
                permit,
            )
        }
        false => Body::empty(),
    };
    let mut response = (status, body).into_response();
    let fields = response.headers_mut();
    let mut set = |name, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            fields.insert(name, value);
        }
    };
    set(header::ETAG, etag);
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    set(header::CACHE_CONTROL, "private, no-transform".to_owned());
    if status.is_success() {
        set(header::CONTENT_TYPE, "application/octet-stream".to_owned());
        set(header::CONTENT_LENGTH, count.to_string());
    }
    match status {
        StatusCode::PARTIAL_CONTENT => {
            let last = first + count - 1;
            set(
                header::CONTENT_RANGE,
                format!("bytes {first}-{last}/{size}"),
            );
        }
        StatusCode::RANGE_NOT_SATISFIABLE => set(header::CONTENT_RANGE, format!("bytes */{size}")),
        _ => {}
    }
    Ok(response)
}

async fn authorize(
    station: &Station,
    id: i64,
    headers: &HeaderMap,
) -> Result<(Grant, Package), Problem> {
    let token = bearer(headers).ok_or_else(unauthorized)?.to_owned();
    let found = station.store.read(move |connection| {
        let grant = tokens::look_up(connection, &token, clock::now())?;
        Ok::<_, Problem>((grant, packages::get(connection, id)?))
    });
    let (grant, package) = found.await?;
    let grant = grant.ok_or_else(unauthorized)?;
    if grant.package != id {
        let message = "the token is for another package";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", message));
    }
    Ok((grant, package.ok_or_else(no_such_package)?))
}

fn no_such_package() -> Problem {
    Problem::not_found("there is no such package")
}

async fn open(station: &Station, package: &Package, first: u64) -> Result<File, Problem> {
    let path = station.package_path(&package.file_sha256);
    let open = async {
        let mut file = File::open(&path).await?;
        let size = file.metadata().await?.len();
        if size != package.size {
            let text = format!("it has {size} bytes, not {}", package.size);
            return Err(std::io::Error::other(text));
        }
        file.seek(SeekFrom::Start(first)).await?;
        Ok(file)
    };
    open.await.map_err(|error: std::io::Error| {
        Problem::internal(format!("{} cannot be served: {error}", path.display()))
    })
}

/// A body of `count` bytes from where `file` stands; what is in memory of it is one chunk.
fn send(file: File, count: u64, transfer: Transfer, permit: OwnedSemaphorePermit) -> Body {
    let state = (file, count, transfer, permit);
    Body::from_stream(stream::try_unfold(state, |state| async move {
        let (mut file, left, mut transfer, permit) = state;
        if left == 0 {
            transfer.complete();
            return Ok(None);
        }
        let most = left.min(transfer.chunk());
        let mut chunk = vec![0; most as usize];
        let read = file.read(&mut chunk).await;
        let read = read.and_then(|read| match read {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        });
        let read = read.inspect_err(|error| warn!("download stopped: {error}"))?;
        chunk.truncate(read);
        transfer.sent(read as u64).await;
        let next = (file, left - read as u64, transfer, permit);
        Ok::<_, std::io::Error>(Some((Bytes::from(chunk), next)))
    }))
}

impl Egress {
    fn begin(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.permit().ok_or_else(|| {
            let message = "as many downloads as are allowed are under way: come back later";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
                .retry_after(self.retry_after())
        })
    }
}
