//! Package downloads by terminals: `GET /packages/{id}/{name}` with the token of the order.

use std::io::SeekFrom;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{header, HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use log::warn;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::auth::{bearer, Caller};
use super::egress::{Egress, Permit, Transfer};
use super::error::Problem;
use super::range::{answer, Answer};
use super::Station;
use crate::clock;
use crate::store::packages::{self, Package};
use crate::store::tokens::{self, Grant};

/// Serves a package, whole or in part.
pub async fn download(
    State(station): State<Arc<Station>>,
    Path((id, name)): Path<(i64, String)>,
    method: Method,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (grant, package) = authorize(&station, id, &caller, &headers).await?;
    if package.name != name {
        return Err(no_such_package());
    }
    let etag = format!("\"{}\"", package.file_sha256);
    let size = package.size;
    let (status, first, count) = match answer(&headers, &etag, size) {
        Answer::Whole => (StatusCode::OK, 0, size),
        Answer::Part { first, last } => {
            let count = last.saturating_sub(first).saturating_add(1);
            (StatusCode::PARTIAL_CONTENT, first, count)
        }
        Answer::NotModified => (StatusCode::NOT_MODIFIED, 0, 0),
        Answer::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, 0, 0),
        Answer::NotSatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    let body = match status.is_success() && method != Method::HEAD {
        true => {
            let permit = station.egress.permit(&grant.terminal, &caller)?;
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
            let last = first.saturating_add(count).saturating_sub(1);
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
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<(Grant, Package), Problem> {
    let shown = bearer(headers);
    let refuse = || {
        station
            .refusals
            .refuse(caller.network(), shown, "a package")
    };
    let token = shown.ok_or_else(refuse)?.to_owned();
    let found = station.store.read(move |connection| {
        let grant = tokens::look_up(connection, &token, clock::now())?;
        Ok::<_, Problem>((grant, packages::get(connection, id)?))
    });
    let (grant, package) = found.await?;
    let grant = grant.ok_or_else(refuse)?;
    caller.authenticate()?;
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

/// Returns a body of `count` bytes from the current position of `file`; one chunk is in memory at a
/// time.
fn send(file: File, count: u64, transfer: Transfer, permit: Permit) -> Body {
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
        let next = (file, left.saturating_sub(read as u64), transfer, permit);
        Ok::<_, std::io::Error>(Some((Bytes::from(chunk), next)))
    }))
}

impl Egress {
    fn permit(&self, terminal: &str, caller: &Caller) -> Result<Permit, Problem> {
        self.begin(terminal, caller).ok_or_else(|| {
            let message = "too many downloads are in progress: try again later";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
                .retry_after(self.retry_after())
        })
    }
}
