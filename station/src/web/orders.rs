//! REST: orders, which make a job for each terminal.

use axum::extract::State;
use axum::http::StatusCode;
use axum::Json;
use dau_package::PackageKind;
use dau_protocol::topic::is_device_id;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Operator;
use super::error::Problem;
use super::extract::{Content, PathId};
use super::Station;
use crate::clock;
use crate::store::orders::{self, Order, Ordered, Summary};
use crate::store::packages::{self, Package};
use crate::store::{terminals, Write};

/// Offending terminals that a refusal names.
const MAX_NAMED: usize = 10;

/// An order for one or many terminals.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewOrder {
    /// The terminals' ids.
    #[serde(default)]
    pub terminals: Vec<String>,
    /// Instead of a list: every known terminal of the package's product.
    #[serde(default)]
    pub all: bool,
    /// The package's number.
    pub package: i64,
    /// `kernel`, `rootfs`, `full` or `recovery`; without it, the package's kind.
    #[serde(default, rename = "type")]
    pub upgrade_type: Option<String>,
    /// Seconds that a terminal waits from receipt before it starts.
    #[serde(default)]
    pub policy: u32,
    /// Seconds over which the starts of the terminals are spread, on top of `policy`.
    #[serde(default)]
    pub spread: u32,
    /// Seconds after which the order is void where the terminal has not taken it; without it, never.
    #[serde(default)]
    pub expire: Option<u32>,
    /// Orders what the station would refuse (unknown terminal, other product or kind, older rollback index). The
    /// terminal judges all the same.
    #[serde(default)]
    pub force: bool,
}

/// The answer to an order.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewJobs {
    /// The id that these jobs have in common; jobs that were there already have another.
    pub order: i64,
    /// One for each terminal.
    pub jobs: Vec<Ordered>,
}

/// Orders an upgrade. Ordering again what is under way answers with the job that is there.
#[utoipa::path(
    post, path = "/jobs", tag = "jobs", security(("bearer" = [])), request_body = NewOrder,
    responses(
        (status = 201, body = NewJobs),
        (status = 400, body = Problem),
        (status = 404, description = "No such package or terminal", body = Problem),
        (status = 409, description = "Does not fit; `error` is type-mismatch, product-mismatch or rollback", body = Problem),
    )
)]
pub async fn create(
    State(station): State<Station>,
    Operator(by): Operator,
    Content(new): Content<NewOrder>,
) -> Result<(StatusCode, Json<NewJobs>), Problem> {
    if new.all != new.terminals.is_empty() {
        let message = "give either 'terminals' with at least one id, or 'all': true";
        return Err(Problem::bad_request(message));
    }
    let created = station.store.write(move |w| {
        let now = clock::now();
        let package = packages::get(w, new.package)?
            .ok_or_else(|| Problem::not_found(format!("there is no package {}", new.package)))?;
        let upgrade_type = check_type(&new, &package)?;
        let terminals = chosen(w, now, &new, &package)?;
        let order = Order {
            id: w.next_id(),
            by,
            upgrade_type,
            policy: new.policy.into(),
            spread: new.spread.into(),
            expires_at: new.expire.map(|seconds| now + i64::from(seconds)),
        };
        let jobs = orders::create(w, now, &order, &package, &terminals)?;
        Ok::<_, Problem>(NewJobs {
            order: order.id,
            jobs,
        })
    });
    let created = created.await?;
    station.wake.notify_one();
    Ok((StatusCode::CREATED, Json(created)))
}

/// Shows how the jobs of an order stand.
#[utoipa::path(
    get, path = "/orders/{id}", tag = "jobs", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The order's id")),
    responses((status = 200, body = Summary), (status = 404, body = Problem))
)]
pub async fn summary(
    State(station): State<Station>,
    _operator: Operator,
    PathId(id): PathId,
) -> Result<Json<Summary>, Problem> {
    let summary = station
        .store
        .read(move |c| Ok::<_, Problem>(orders::summary(c, id)?));
    let summary = summary.await?;
    summary
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no order {id}")))
}

fn check_type(new: &NewOrder, package: &Package) -> Result<String, Problem> {
    let Some(wanted) = &new.upgrade_type else {
        return Ok(package.kind.clone());
    };
    if wanted.parse::<PackageKind>().is_err() {
        return Err(Problem::bad_request(format!(
            "type '{wanted}' is not kernel, rootfs, full or recovery"
        )));
    }
    if *wanted != package.kind && !new.force {
        return Err(Problem::conflict(
            "type-mismatch",
            format!(
                "package {} is of kind {}, not {wanted}: order that, or choose another package",
                package.id, package.kind
            ),
        ));
    }
    Ok(wanted.clone())
}

/// The terminals that the order names, each once, checked against the package.
fn chosen(
    w: &Write<'_>,
    now: i64,
    new: &NewOrder,
    package: &Package,
) -> Result<Vec<String>, Problem> {
    if new.all {
        let all: Vec<String> = w
            .prepare("SELECT id FROM terminals WHERE product = ? ORDER BY id")?
            .query_map([&package.product], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        return match all.is_empty() {
            true => Err(Problem::not_found(format!(
                "no terminal of product '{}' is known",
                package.product
            ))),
            false => Ok(all),
        };
    }
    let mut chosen = new.terminals.clone();
    chosen.sort_unstable();
    chosen.dedup();
    if let Some(id) = chosen.iter().find(|id| !is_device_id(id)) {
        return Err(Problem::bad_request(format!(
            "'{id}' is no terminal id: 1 to 64 letters, digits, '-', '_' or '.'"
        )));
    }
    if new.force {
        for id in &chosen {
            terminals::register(w, now, id)?;
        }
        return Ok(chosen);
    }
    let mut misfits = Misfits::default();
    for id in &chosen {
        misfits.judge(w, id, package)?;
    }
    misfits.into_result(package)?;
    Ok(chosen)
}

#[derive(Default)]
struct Misfits<'a> {
    unknown: Vec<&'a str>,
    product: Vec<&'a str>,
    rollback: Vec<&'a str>,
}

impl<'a> Misfits<'a> {
    fn judge(
        &mut self,
        connection: &Connection,
        id: &'a str,
        package: &Package,
    ) -> rusqlite::Result<()> {
        let known: Option<(String, i64)> = connection
            .prepare_cached("SELECT product, rollback_index FROM terminals WHERE id = ?")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match known {
            None => self.unknown.push(id),
            // Registered only, or of another make: nothing to judge by.
            Some((product, _)) if product.is_empty() => {}
            Some((product, _)) if product != package.product => self.product.push(id),
            Some((_, index)) if index as u64 > package.rollback_index => self.rollback.push(id),
            Some(_) => {}
        }
        Ok(())
    }

    fn into_result(self, package: &Package) -> Result<(), Problem> {
        let named = |ids: &[&str]| {
            let more = ids.len().saturating_sub(MAX_NAMED);
            let shown = ids[..ids.len() - more].join(", ");
            match more {
                0 => shown,
                _ => format!("{shown} and {more} more"),
            }
        };
        if !self.unknown.is_empty() {
            return Err(Problem::not_found(format!(
                "not known: {}; a terminal becomes known when it links up or is registered",
                named(&self.unknown)
            )));
        }
        if !self.product.is_empty() {
            return Err(Problem::conflict(
                "product-mismatch",
                format!(
                    "the package is for product '{}', which these are not: {}",
                    package.product,
                    named(&self.product)
                ),
            ));
        }
        if !self.rollback.is_empty() {
            return Err(Problem::conflict(
                "rollback",
                format!(
                    "the package's rollback index {} is older than what runs on: {}",
                    package.rollback_index,
                    named(&self.rollback)
                ),
            ));
        }
        Ok(())
    }
}
