//! REST resources of the deltas that the station makes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{header, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::Json;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use utoipa::ToSchema;

use super::auth::Operator;
use super::error::Problem;
use super::extract::{Content, PathId};
use super::integer::integer;
use super::Station;
use crate::clock;
use crate::store::deltas::{self, Delta};
use crate::store::events::{self, kind, Subject};
use crate::store::packages::{self, Package};
use crate::store::Write;

/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

/// The delta to make.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDelta {
    /// The id of the package that it starts from.
    #[serde(deserialize_with = "integer")]
    pub base: i64,
}

/// A list of deltas.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Deltas {
    /// Newest first.
    pub deltas: Vec<Delta>,
}

/// Has a delta to this package made. With `deltas.sign_command` it becomes a package by itself; else
/// its state becomes `unsigned`: get it, sign it, and upload it.
#[utoipa::path(
    post, path = "/packages/{id}/deltas", tag = "deltas", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The number of the package that the delta makes")),
    request_body = NewDelta,
    responses(
        (status = 202, description = "It will be made", body = Delta),
        (status = 200, description = "It is there, or under way", body = Delta),
        (status = 400, body = Problem),
        (status = 404, description = "No such package", body = Problem),
        (status = 409, description = "There can be none; `error` is product-mismatch, type-mismatch or \
            unexpected-delta", body = Problem),
        (status = 413, description = "Larger than 16 MiB", body = Problem),
        (status = 415, description = "Not application/json", body = Problem),
    )
)]
pub async fn request(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    PathId(id): PathId,
    Content(new): Content<NewDelta>,
) -> Result<(StatusCode, Json<Delta>), Problem> {
    let requested = station.store.write(move |w| {
        let now = clock::now();
        let (base, target) = (get(w, new.base)?, get(w, id)?);
        check(&base, &target)?;
        let (delta, new) = deltas::request(w, now, &by, &base, &target)?;
        if new {
            let subject = Subject {
                package: Some(id),
                ..Subject::default()
            };
            let detail = json!({"by": by, "delta": delta.id, "base": base.id});
            events::add(w, now, subject, kind::DELTA, &detail)?;
        }
        Ok::<_, Problem>((delta, new))
    });
    let (delta, new) = requested.await?;
    station.deltas.notify_one();
    let status = match new {
        true => StatusCode::ACCEPTED,
        false => StatusCode::OK,
    };
    Ok((status, Json(delta)))
}

fn get(w: &Write<'_>, id: i64) -> Result<Package, Problem> {
    packages::get(w, id)?.ok_or_else(|| Problem::not_found(format!("there is no package {id}")))
}

/// Refuses what can never be; the rest shows when it is made.
fn check(base: &Package, target: &Package) -> Result<(), Problem> {
    if let Some(delta) = [base, target].into_iter().find(|one| one.target.is_some()) {
        let text = format!(
            "package {} is a delta itself: name whole packages",
            delta.id
        );
        return Err(Problem::conflict("unexpected-delta", text));
    }
    if base.product != target.product {
        let text = format!(
            "package {} is for product '{}', package {} for '{}'",
            base.id, base.product, target.id, target.product
        );
        return Err(Problem::conflict("product-mismatch", text));
    }
    if base.id == target.id || [base, target].iter().any(|one| one.kind == "recovery") {
        let text = "a delta leads from one package to another, and terminals keep none of a RecoveryOS alone";
        return Err(Problem::conflict("type-mismatch", text));
    }
    Ok(())
}

/// Lists the deltas that were asked for.
#[utoipa::path(
    get, path = "/deltas", tag = "deltas", security(("bearer" = [])),
    responses((status = 200, body = Deltas))
)]
pub async fn list(
    State(station): State<Arc<Station>>,
    _operator: Operator,
) -> Result<Json<Deltas>, Problem> {
    let deltas = station.store.read(|c| Ok::<_, Problem>(deltas::list(c)?));
    Ok(Json(Deltas {
        deltas: deltas.await?,
    }))
}

/// Shows a delta that was asked for.
#[utoipa::path(
    get, path = "/deltas/{id}", tag = "deltas", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The delta's id")),
    responses((status = 200, body = Delta), (status = 404, body = Problem))
)]
pub async fn show(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    PathId(id): PathId,
) -> Result<Json<Delta>, Problem> {
    find(&station, id).await.map(Json)
}

async fn find(station: &Station, id: i64) -> Result<Delta, Problem> {
    let delta = station
        .store
        .read(move |c| Ok::<_, Problem>(deltas::get(c, id)?));
    delta
        .await?
        .ok_or_else(|| Problem::not_found(format!("there is no delta {id}")))
}

/// Forgets a delta that was asked for; one that is being made is given up. Its package stays.
#[utoipa::path(
    delete, path = "/deltas/{id}", tag = "deltas", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The delta's id")),
    responses((status = 204, description = "It is gone"), (status = 404, body = Problem))
)]
pub async fn remove(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    PathId(id): PathId,
) -> Result<StatusCode, Problem> {
    let removed = station
        .store
        .write(move |w| Ok::<_, Problem>(deltas::remove(w, id)?));
    if !removed.await? {
        return Err(Problem::not_found(format!("there is no delta {id}")));
    }
    let _ = tokio::fs::remove_file(station.unsigned_path(id)).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns a delta that waits for its signature: sign it (`dau-packager sign`), and upload it like any
/// package.
#[utoipa::path(
    get, path = "/deltas/{id}/file", tag = "deltas", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The delta's id")),
    responses(
        (status = 200, description = "The .dau file", body = String, content_type = "application/octet-stream"),
        (status = 404, body = Problem),
        (status = 409, description = "`not-unsigned`: it is in another state", body = Problem),
    )
)]
pub async fn file(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    PathId(id): PathId,
) -> Result<Response, Problem> {
    let delta = find(&station, id).await?;
    let Some(size) = delta.size.filter(|_| delta.state == "unsigned") else {
        let text = format!("delta {id} is {}, and waits for no signature", delta.state);
        return Err(Problem::conflict("not-unsigned", text));
    };
    let opened = File::open(station.unsigned_path(id)).await;
    let file = opened.map_err(|error| Problem::io("the delta cannot be read", &error))?;
    let content = stream::try_unfold(file, |mut file| async {
        let mut chunk = vec![0; CHUNK];
        let read = file.read(&mut chunk).await?;
        chunk.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then_some((chunk, file)))
    });
    let fields = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, size.to_string()),
    ];
    Ok((fields, Body::from_stream(content)).into_response())
}
