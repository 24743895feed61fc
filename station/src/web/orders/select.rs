//! Checks the terminals that an order names.

use dau_protocol::topic::is_device_id;

use crate::store::orders::select::{misfit, reason};
use crate::store::orders::PIECE;
use crate::store::packages::Package;
use crate::store::{terminals, Read};
use crate::web::error::Problem;
use crate::web::terminals::no_terminal_id;

/// Most terminals that a refusal names.
const MAX_NAMED: usize = 10;

/// Returns the named terminals, each once.
pub fn named(ids: &[String]) -> Result<Vec<String>, Problem> {
    let mut chosen = ids.to_vec();
    chosen.sort_unstable();
    chosen.dedup();
    match chosen.iter().find(|id| !is_device_id(id)) {
        Some(id) => Err(no_terminal_id(id)),
        None => Ok(chosen),
    }
}

/// Refuses an order of one piece if it does not fit each terminal. A larger one is not judged before
/// its jobs are made: it skips these terminals.
pub fn check(r: &Read<'_>, chosen: &[String], package: &Package) -> Result<(), Problem> {
    if chosen.len() > PIECE {
        return Ok(());
    }
    let mut misfits = Misfits::default();
    for id in chosen {
        match misfit(terminals::candidate(r, id)?.as_ref(), package) {
            None => {}
            Some(reason::UNKNOWN) => misfits.unknown.push(id),
            Some(reason::BLOCKED) => misfits.blocked.push(id),
            Some(reason::PRODUCT) => misfits.product.push(id),
            Some(_) => misfits.rollback.push(id),
        }
    }
    misfits.into_result(package)
}

#[derive(Default)]
struct Misfits<'a> {
    unknown: Vec<&'a str>,
    blocked: Vec<&'a str>,
    product: Vec<&'a str>,
    rollback: Vec<&'a str>,
}

impl Misfits<'_> {
    fn into_result(self, package: &Package) -> Result<(), Problem> {
        let named = |ids: &[&str]| {
            let more = ids.len().saturating_sub(MAX_NAMED);
            let shown: Vec<&str> = ids.iter().take(MAX_NAMED).copied().collect();
            let shown = shown.join(", ");
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
        if !self.blocked.is_empty() {
            let message = format!("blocked or decommissioned: {}", named(&self.blocked));
            return Err(Problem::conflict("blocked", message));
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
