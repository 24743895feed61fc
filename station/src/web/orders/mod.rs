//! REST resources of orders; each makes a job for every terminal that it is for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::Json;
use dau_model::Kind;
use openssl::sha::sha256;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::ToSchema;

use super::auth::Operator;
use super::error::Problem;
use super::extract::{Content, OptionalContent, PathId};
use super::integer::{integer, optional_integer};
use super::jobs::CancelOrder;
use super::Station;
use crate::clock;
use crate::config::check_budget;
use crate::store::filter::Filter;
use crate::store::orders::{self, Cancelled, Order};
use crate::store::packages::{self, Package};
use crate::store::requests::{self, Answered};
use crate::store::{terminals, Read, Write};

mod idempotency;
pub mod lists;
mod select;

pub use select::named;

use idempotency::{respond, Request};

/// Longest wait in an order, seconds.
const MAX_SECONDS: u64 = dau_protocol::MAX_POLICY;

/// An order for one or many terminals.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewOrder {
    /// The terminals' ids.
    #[serde(default)]
    #[schema(schema_with = terminal_ids)]
    pub terminals: Vec<String>,
    /// All known terminals of the package's product, instead of a list.
    #[serde(default)]
    pub all: bool,
    /// The terminals that this filter fits when the order is placed, instead of a list. Those of
    /// another product are skipped.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 4096)]
    pub filter: Option<String>,
    /// The package's id.
    #[serde(deserialize_with = "integer")]
    pub package: i64,
    /// `kernel`, `rootfs`, `full` or `recovery`; the package's kind by default.
    #[serde(default, rename = "type")]
    #[schema(pattern = "^(kernel|rootfs|full|recovery)$")]
    pub upgrade_type: Option<String>,
    /// Seconds that a terminal waits after it received the order; with `spread` at most a year.
    #[serde(default, deserialize_with = "integer")]
    #[schema(maximum = 31_536_000)]
    pub policy: u32,
    /// Seconds over which the starts of the terminals are spread, on top of `policy`.
    #[serde(default, deserialize_with = "integer")]
    #[schema(maximum = 31_536_000)]
    pub spread: u32,
    /// Seconds after which the order expires for a terminal that has not accepted it; never by
    /// default.
    #[serde(default, deserialize_with = "optional_integer")]
    #[schema(maximum = 31_536_000)]
    pub expire: Option<u32>,
    /// Bytes that each terminal may spend on it, everything counted; the configuration's `jobs.budget`
    /// by default.
    #[serde(default, deserialize_with = "optional_integer")]
    #[schema(minimum = 131_072, maximum = 1_099_511_627_776_u64)]
    pub budget: Option<u64>,
    /// Orders even if the station would refuse (unknown terminal, other product or kind, older
    /// rollback index). The terminal still decides for itself.
    #[serde(default)]
    pub force: bool,
}

pub fn terminal_ids() -> ArrayBuilder {
    let id = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$"));
    ArrayBuilder::new().items(id)
}

/// Orders an upgrade. The jobs are made after the answer, in pieces; the order shows how far that
/// is. A terminal where the same upgrade is in progress gets no second job. With an
/// `Idempotency-Key`, a repetition of the request within a day gets the same answer and has no
/// effect.
#[utoipa::path(
    post, path = "/orders", tag = "orders", security(("bearer" = [])), request_body = NewOrder,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII \
        characters, new for each new order", min_length = 1, max_length = 255)),
    responses(
        (status = 202, description = "Its jobs are being made", body = Order),
        (status = 400, body = Problem),
        (status = 404, description = "No such package or terminal", body = Problem),
        (status = 409, description = "Does not fit; `error` is type-mismatch, product-mismatch, \
            blocked, rollback or unexpected-delta, or why the signer of the package, or of a delta to it, is \
            not trusted any more, such as signer-revoked", body = Problem),
        (status = 413, description = "Larger than 16 MiB", body = Problem),
        (status = 415, description = "Not application/json", body = Problem),
        (status = 422, description = "`idempotency-key-reused`: the key came with another order",
            body = Problem),
    )
)]
pub async fn create(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    headers: HeaderMap,
    Content(new): Content<NewOrder>,
) -> Result<Response, Problem> {
    check(&new)?;
    let request = match idempotency::key(&headers)? {
        None => None,
        Some(key) => Some(Request {
            key,
            by: by.clone(),
            digest: sha256(&serde_json::to_vec(&new).map_err(Problem::internal)?).to_vec(),
        }),
    };
    let (id, again) = (new.package, request.clone());
    let found = station.store.read(move |c| {
        let answered = again.map_or(Ok(None), |request| request.answered(c))?;
        let package = packages::get(c, id)?;
        let deltas = package.as_ref().map(|package| packages::deltas(c, package));
        Ok::<_, Problem>((answered, package, deltas.transpose()?.unwrap_or_default()))
    });
    let (package, deltas) = match found.await? {
        (Some(answered), ..) => return Ok(respond(answered)),
        (None, None, _) => return Err(Problem::not_found(format!("there is no package {id}"))),
        (None, Some(package), deltas) => (package, deltas),
    };
    check_whole(&package)?;
    // A terminal gets whichever file is smaller.
    for file in deltas.iter().chain([&package]) {
        super::packages::judge_again(&station, file).await?;
    }
    let budget = Some(station.config.jobs.budget).filter(|bytes| *bytes > 0);
    let since = station.online_since();
    let answered = station.store.write(move |w| {
        if let Some(request) = &request {
            requests::hold(w, &request.by, &request.key)?;
        }
        if let Some(answered) = request.as_ref().map_or(Ok(None), |one| one.answered(w))? {
            return Ok(answered);
        }
        let order = place(w, by, &new, budget, since)?;
        let answered = Answered {
            digest: request
                .as_ref()
                .map_or_else(Vec::new, |one| one.digest.clone()),
            status: StatusCode::ACCEPTED.as_u16(),
            answer: serde_json::to_string(&order).map_err(Problem::internal)?,
        };
        if let Some(request) = &request {
            requests::keep(w, clock::now(), &request.by, &request.key, &answered)?;
        }
        Ok::<_, Problem>(answered)
    });
    let answered = answered.await?;
    station.orders.notify_one();
    Ok(respond(answered))
}

/// Checks an order as far as possible without the database.
fn check(new: &NewOrder) -> Result<(), Problem> {
    let ways = [!new.terminals.is_empty(), new.all, new.filter.is_some()];
    if ways.into_iter().filter(|way| *way).count() != 1 {
        let message = "give one of 'terminals' with at least one id, 'filter', or 'all': true";
        return Err(Problem::bad_request(message));
    }
    if new
        .filter
        .as_ref()
        .is_some_and(|text| text.trim().is_empty())
    {
        let message = "'filter' is empty, which fits all: give 'all': true if that is meant";
        return Err(Problem::bad_request(message));
    }
    Filter::parse(new.filter.as_deref().unwrap_or_default())?;
    let start = u64::from(new.policy).saturating_add(new.spread.into());
    if start > MAX_SECONDS {
        return Err(Problem::bad_request(format!(
            "'policy' and 'spread' together are {start} s: the last terminal shall start within a \
             year ({MAX_SECONDS} s)"
        )));
    }
    if new
        .expire
        .is_some_and(|expire| u64::from(expire) > MAX_SECONDS)
    {
        return Err(Problem::bad_request(format!(
            "'expire' is more than a year ({MAX_SECONDS} s): leave it out for an order that does not expire"
        )));
    }
    check_budget(new.budget).map_err(|reason| Problem::bad_request(format!("'budget': {reason}")))
}

/// Refuses to order a delta, which fits some terminals only.
pub fn check_whole(package: &Package) -> Result<(), Problem> {
    match package.target {
        None => Ok(()),
        Some(_) => Err(Problem::conflict(
            "unexpected-delta",
            format!(
                "package {} is a delta: order the package of version {} that it makes; terminals that keep \
                 the delta's base get the delta",
                package.id, package.version
            ),
        )),
    }
}

/// Places an order; `budget` is the one of an order that names none, `since` the time since when a
/// terminal must have been heard of to be online.
fn place(
    w: &Write<'_>,
    by: String,
    new: &NewOrder,
    budget: Option<u64>,
    since: i64,
) -> Result<Order, Problem> {
    let now = clock::now();
    let package = packages::keep(w, new.package)?
        .ok_or_else(|| Problem::not_found(format!("there is no package {}", new.package)))?;
    let order = orders::NewOrder {
        by,
        upgrade_type: check_type(new, &package)?,
        policy: new.policy.into(),
        spread: new.spread.into(),
        budget: new.budget.or(budget),
        expires_at: new.expire.map(|seconds| now.saturating_add(seconds.into())),
        expire: new.expire.map(i64::from),
        force: new.force,
        filter: new.filter.clone(),
    };
    let named = check_terminals(w, new, &package, since)?;
    let id = orders::place(w, now, &order, &package, named.as_deref())?;
    find(w, id)
}

/// Returns the terminals that the order names, each once; `None`: it is for all of the product.
fn check_terminals(
    r: &Read<'_>,
    new: &NewOrder,
    package: &Package,
    since: i64,
) -> Result<Option<Vec<String>>, Problem> {
    if let Some(text) = &new.filter {
        let found = terminals::ids(r, &Filter::parse(text)?, since)?;
        return match found.is_empty() {
            false => Ok(Some(found)),
            true => Err(Problem::not_found(format!(
                "no terminal fits the filter: {text}"
            ))),
        };
    }
    if !new.all {
        let chosen = select::named(&new.terminals)?;
        if !new.force {
            select::check(r, &chosen, package)?;
        }
        return Ok(Some(chosen));
    }
    match terminals::has_product(r, &package.product)? {
        true => Ok(None),
        false => Err(Problem::not_found(format!(
            "no terminal of product '{}' is known",
            package.product
        ))),
    }
}

fn find(r: &Read<'_>, id: i64) -> Result<Order, Problem> {
    orders::get(r, id)?.ok_or_else(|| no_order(id))
}

fn no_order(id: i64) -> Problem {
    Problem::not_found(format!("there is no order {id}"))
}

/// Shows an order and the state of its jobs.
#[utoipa::path(
    get, path = "/orders/{id}", tag = "orders", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The order's id")),
    responses((status = 200, body = Order), (status = 404, body = Problem))
)]
pub async fn show(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    PathId(id): PathId,
) -> Result<Json<Order>, Problem> {
    station.store.read(move |r| find(r, id)).await.map(Json)
}

/// Cancels an order: no more of its jobs are made, and those that have not ended are cancelled, each
/// as by `POST jobs/{id}/cancel`, in pieces; the order shows how far that is.
#[utoipa::path(
    post, path = "/orders/{id}/cancel", tag = "orders", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The order's id")), request_body = Option<CancelOrder>,
    responses(
        (status = 202, description = "Its jobs are being cancelled", body = Order),
        (status = 404, body = Problem),
        (status = 409, description = "`finished`: all its jobs have ended", body = Problem),
    )
)]
pub async fn cancel(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    PathId(id): PathId,
    OptionalContent(wanted): OptionalContent<CancelOrder>,
) -> Result<(StatusCode, Json<Order>), Problem> {
    let done = station.store.write(move |w| {
        match orders::cancel_order(w, clock::now(), id, &by, wanted.abandon)? {
            Cancelled::Unknown => Err(no_order(id)),
            Cancelled::Over => {
                let message = format!("all jobs of order {id} have ended; their results stay");
                Err(Problem::conflict("finished", message))
            }
            Cancelled::Ended | Cancelled::Asked => find(w, id),
        }
    });
    let order = done.await?;
    station.orders.notify_one();
    Ok((StatusCode::ACCEPTED, Json(order)))
}

fn check_type(new: &NewOrder, package: &Package) -> Result<String, Problem> {
    match &new.upgrade_type {
        Some(wanted) if new.force && wanted.parse::<Kind>().is_ok() => Ok(wanted.clone()),
        wanted => kind_of(wanted.as_deref(), package),
    }
}

/// Returns what is written of a package, or refuses what it does not have.
pub fn kind_of(wanted: Option<&str>, package: &Package) -> Result<String, Problem> {
    let Some(wanted) = wanted else {
        return Ok(package.kind.clone());
    };
    if let Err(error) = wanted.parse::<Kind>() {
        return Err(Problem::bad_request(format!("type {error}")));
    }
    if wanted != package.kind {
        return Err(Problem::conflict(
            "type-mismatch",
            format!(
                "package {} is of kind {}, not {wanted}: order that, or choose another package",
                package.id, package.kind
            ),
        ));
    }
    Ok(wanted.to_owned())
}
