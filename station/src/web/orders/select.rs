//! Selects the terminals of an order.

use dau_model::Kind;
use dau_protocol::topic::is_device_id;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::packages::Package;
use crate::store::terminals::{self, Candidate};
use crate::store::{self, Read, Write};
use crate::web::error::Problem;
use crate::web::terminals::no_terminal_id;

/// Most terminals that a refusal names.
const MAX_NAMED: usize = 10;

/// A terminal that an order for all skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// The terminal.
    pub terminal: String,
    /// `already-there`: it runs the package's version; `rollback`: the package is older than its
    /// OS; `unknown-product`: it has not reported its product yet.
    pub reason: String,
}

/// Selects all known terminals of the package's product, except those that the upgrade must skip.
pub fn all(
    w: &Write<'_>,
    package: &Package,
    force: bool,
) -> Result<(Vec<String>, Vec<Skipped>), Problem> {
    let all = terminals::candidates(w, &package.product)?;
    if all.iter().all(|candidate| candidate.product.is_empty()) {
        return Err(Problem::not_found(format!(
            "no terminal of product '{}' is known",
            package.product
        )));
    }
    let (mut terminals, mut skipped) = (Vec::with_capacity(all.len()), Vec::new());
    for candidate in all {
        match skip_reason(&candidate, package, force) {
            None => terminals.push(candidate.id),
            Some(reason) => skipped.push(Skipped {
                terminal: candidate.id,
                reason: reason.to_owned(),
            }),
        }
    }
    Ok((terminals, skipped))
}

/// Returns the reason to skip a terminal in an order for all, if any.
fn skip_reason(candidate: &Candidate, package: &Package, force: bool) -> Option<&'static str> {
    let runs = match package.kind.parse() {
        Ok(Kind::Full | Kind::Rootfs) => Some(&candidate.version),
        Ok(Kind::Recovery) => Some(&candidate.recovery),
        // A kernel package does not change the OS version.
        Ok(Kind::Kernel) | Err(_) => None,
    };
    match () {
        () if candidate.product.is_empty() => Some("unknown-product"),
        () if force => None,
        () if runs == Some(&package.version) => Some("already-there"),
        () if candidate.rollback_index > package.rollback_index => Some("rollback"),
        () => None,
    }
}

/// Selects the named terminals, each once, after checks against the package.
pub fn named(
    w: &Write<'_>,
    now: i64,
    ids: &[String],
    package: &Package,
    force: bool,
) -> Result<Vec<String>, Problem> {
    let mut chosen = ids.to_vec();
    chosen.sort_unstable();
    chosen.dedup();
    if let Some(id) = chosen.iter().find(|id| !is_device_id(id)) {
        return Err(no_terminal_id(id));
    }
    if force {
        for id in &chosen {
            terminals::register(w, now, id)?;
        }
        return Ok(chosen);
    }
    let mut misfits = Misfits::default();
    for id in &chosen {
        misfits.check(w, id, package)?;
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
    fn check(&mut self, r: &Read<'_>, id: &'a str, package: &Package) -> store::Result<()> {
        match terminals::candidate(r, id)? {
            None => self.unknown.push(id),
            // Only registered, or of another make: nothing to compare with.
            Some(known) if known.product.is_empty() => {}
            Some(known) if known.product != package.product => self.product.push(id),
            Some(known) if known.rollback_index > package.rollback_index => self.rollback.push(id),
            Some(_) => {}
        }
        Ok(())
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_for_all_passes_over_what_runs_the_package_and_what_runs_a_newer_one() {
        let candidate = |product: &str, version: &str, rollback_index| Candidate {
            id: "t1".to_owned(),
            product: product.to_owned(),
            version: version.to_owned(),
            recovery: "2.0".to_owned(),
            rollback_index,
        };
        let package = |kind: &str, version: &str| Package {
            kind: kind.to_owned(),
            version: version.to_owned(),
            rollback_index: 5,
            ..Package::default()
        };
        let cases = [
            (candidate("p", "1.0", 5), "full", "1.1", false, None),
            (
                candidate("p", "1.1", 5),
                "full",
                "1.1",
                false,
                Some("already-there"),
            ),
            (
                candidate("p", "1.1", 5),
                "rootfs",
                "1.1",
                false,
                Some("already-there"),
            ),
            (candidate("p", "1.1", 5), "kernel", "1.1", false, None),
            (
                candidate("p", "1.1", 5),
                "recovery",
                "2.0",
                false,
                Some("already-there"),
            ),
            (candidate("p", "1.1", 5), "full", "1.1", true, None),
            (
                candidate("p", "1.0", 6),
                "full",
                "1.1",
                false,
                Some("rollback"),
            ),
            (candidate("p", "1.0", 6), "full", "1.1", true, None),
            (
                candidate("", "", 0),
                "full",
                "1.1",
                true,
                Some("unknown-product"),
            ),
        ];
        for (candidate, kind, version, force, reason) in cases {
            let found = skip_reason(&candidate, &package(kind, version), force);
            assert_eq!(found, reason, "{kind} {version} {force}");
        }
    }
}
