//! Which terminals an order fits.

use dau_model::Kind;

use crate::store::packages::Package;
use crate::store::terminals::Candidate;

/// Why a terminal gets no job.
pub mod reason {
    /// It has the same job already.
    pub const IN_PROGRESS: &str = "in-progress";
    /// It runs the package's version.
    pub const ALREADY_THERE: &str = "already-there";
    /// The package is older than its OS.
    pub const ROLLBACK: &str = "rollback";
    /// It is of another product.
    pub const PRODUCT: &str = "product-mismatch";
    /// It has not reported its product.
    pub const UNKNOWN_PRODUCT: &str = "unknown-product";
    /// It is blocked or decommissioned.
    pub const BLOCKED: &str = "blocked";
    /// It is not known.
    pub const UNKNOWN: &str = "unknown";
    /// The rollout's windows never open for it before the end.
    pub const NO_WINDOW: &str = "no-window";
    /// The budget covers no file for it.
    pub const BUDGET: &str = "budget";
    /// No wave of the rollout takes it.
    pub const NO_WAVE: &str = "no-wave";
}

/// Returns the reason to leave a terminal out of a rollout, if any.
pub fn unfit(candidate: Option<&Candidate>, package: &Package) -> Option<&'static str> {
    let misfit = misfit(candidate, package);
    misfit.or_else(|| skip_reason(candidate?, package, false))
}

/// Returns the reason to skip a terminal that an order names, if any.
pub fn misfit(candidate: Option<&Candidate>, package: &Package) -> Option<&'static str> {
    match candidate {
        None => Some(reason::UNKNOWN),
        Some(known) if known.barred => Some(reason::BLOCKED),
        // Only registered, or of another make: nothing to compare with.
        Some(known) if known.product.is_empty() => None,
        Some(known) if known.product != package.product => Some(reason::PRODUCT),
        Some(known) if known.rollback_index > package.rollback_index => Some(reason::ROLLBACK),
        Some(_) => None,
    }
}

/// Returns the reason to skip a terminal that a filter found, if any; `force` or not, it gets no
/// package of another product.
pub fn found(
    candidate: Option<&Candidate>,
    package: &Package,
    force: bool,
) -> Option<&'static str> {
    match candidate {
        None => Some(reason::UNKNOWN),
        Some(known) if known.barred => Some(reason::BLOCKED),
        Some(known) if !["", package.product.as_str()].contains(&known.product.as_str()) => {
            Some(reason::PRODUCT)
        }
        Some(known) => skip_reason(known, package, force),
    }
}

/// Returns the reason to skip a terminal in an order for all of the product, if any.
pub fn skip_reason(candidate: &Candidate, package: &Package, force: bool) -> Option<&'static str> {
    let runs = match package.kind.parse() {
        Ok(Kind::Full | Kind::Rootfs) => Some(&candidate.version),
        Ok(Kind::Recovery) => Some(&candidate.recovery),
        // A kernel is told by its release, which a package does not name.
        Ok(Kind::Kernel) | Err(_) => None,
    };
    match () {
        () if candidate.barred => Some(reason::BLOCKED),
        () if candidate.product.is_empty() => Some(reason::UNKNOWN_PRODUCT),
        () if force => None,
        () if runs == Some(&package.version) => Some(reason::ALREADY_THERE),
        () if candidate.rollback_index > package.rollback_index => Some(reason::ROLLBACK),
        () => None,
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
            barred: false,
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
            let (package, words) = (package(kind, version), format!("{kind} {version} {force}"));
            assert_eq!(skip_reason(&candidate, &package, force), reason, "{words}");
            // What a filter found may be of another product, too.
            let package = Package {
                product: "p".to_owned(),
                ..package
            };
            let other = Candidate {
                product: "q".to_owned(),
                ..candidate.clone()
            };
            assert_eq!(found(Some(&candidate), &package, force), reason, "{words}");
            let barred = Candidate {
                barred: true,
                ..candidate.clone()
            };
            for skip in [
                misfit(Some(&barred), &package),
                found(Some(&barred), &package, force),
                skip_reason(&barred, &package, force),
            ] {
                assert_eq!(skip, Some("blocked"), "{words}");
            }
            let mismatch = Some("product-mismatch");
            assert_eq!(found(Some(&other), &package, force), mismatch, "{words}");
        }
    }
}
