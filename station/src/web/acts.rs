//! What each route of the REST interface does, and so who may use it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};

use super::error::Problem;
use super::API;
use crate::api_tokens::role::Act::{self, Administer, Approve, Operate, View};
use crate::api_tokens::role::Role;
use crate::api_tokens::Holder;

/// The routes below [`API`] that need a token.
const ACTS: &[(Method, &str, Act)] = &[
    (Method::POST, "/session", View),
    (Method::GET, "/session", View),
    (Method::DELETE, "/session", View),
    (Method::POST, "/packages", Operate),
    (Method::GET, "/packages", View),
    (Method::GET, "/packages/{id}", View),
    (Method::DELETE, "/packages/{id}", Operate),
    (Method::POST, "/packages/{id}/deltas", Operate),
    (Method::GET, "/deltas", View),
    (Method::GET, "/deltas/{id}", View),
    (Method::DELETE, "/deltas/{id}", Operate),
    (Method::GET, "/deltas/{id}/file", View),
    (Method::GET, "/fleet", View),
    (Method::GET, "/terminals", View),
    (Method::GET, "/terminals/{id}", View),
    (Method::PUT, "/terminals/{id}", Operate),
    (Method::PATCH, "/terminals/{id}", Operate),
    (Method::POST, "/terminals/{id}/cancel", Operate),
    (Method::POST, "/terminals", Operate),
    (Method::PUT, "/terminals/{id}/life", Operate),
    (Method::POST, "/orders", Operate),
    (Method::GET, "/orders", View),
    (Method::GET, "/orders/{id}", View),
    (Method::GET, "/orders/{id}/failures", View),
    (Method::GET, "/orders/{id}/skipped", View),
    (Method::POST, "/orders/{id}/cancel", Operate),
    (Method::POST, "/rollouts", Operate),
    (Method::GET, "/rollouts", View),
    (Method::GET, "/rollouts/{id}", View),
    (Method::GET, "/rollouts/{id}/preview", View),
    (Method::GET, "/rollouts/{id}/targets", View),
    (Method::POST, "/rollouts/{id}/approve", Approve),
    (Method::POST, "/rollouts/{id}/revert", Operate),
    (Method::POST, "/rollouts/{id}/{act}", Operate),
    (Method::POST, "/stop", Operate),
    (Method::GET, "/stop", View),
    (Method::GET, "/events", View),
    (Method::GET, "/jobs", View),
    (Method::GET, "/jobs/{id}", View),
    (Method::POST, "/jobs/{id}/cancel", Operate),
];

/// Returns what a request does. A route that the table lacks is the administrators'.
pub fn of(method: &Method, path: &str) -> Act {
    let method = match *method {
        Method::HEAD => &Method::GET,
        _ => method,
    };
    let path = path.strip_prefix(API).unwrap_or_default();
    let row = ACTS.iter().find(|row| (&row.0, row.1) == (method, path));
    row.map_or(Administer, |(_, _, act)| *act)
}

/// Allows the holder of a token an act, or refuses with 403. Every request with a token comes here.
pub fn authorize(holder: &Holder, act: Act) -> Result<(), Problem> {
    if holder.role.may(act) {
        return Ok(());
    }
    let message = format!(
        "'{}' is {}, and this needs the role {}",
        holder.name,
        holder.role,
        Role::that_may(act)
    );
    Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", message))
}

/// Period of counting.
const WINDOW: Duration = Duration::from_secs(60);
/// Most refused acts of one holder that a period adds to the record.
const MOST: u32 = 10;

/// Counts of refused acts by holder; the file of tokens bounds the holders.
#[derive(Debug, Default)]
pub struct RefusedActs(Mutex<HashMap<String, (Instant, u32)>>);

impl RefusedActs {
    /// Counts a refused act, and tells whether the record is to have it.
    pub fn is_recorded(&self, name: &str, now: Instant) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = counts.entry(name.to_owned()).or_insert((now, 0));
        if now.saturating_duration_since(*since) > WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_has_every_route_that_needs_a_token_and_no_other() {
        let openapi = serde_json::to_value(crate::web::openapi()).unwrap();
        let mut described = BTreeSet::new();
        for (path, operations) in openapi["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                if operation.get("security").is_some() {
                    let path = path.strip_prefix(API).unwrap();
                    described.insert(format!("{} {path}", method.to_uppercase()));
                }
            }
        }
        let rows = ACTS
            .iter()
            .map(|(method, path, _)| format!("{method} {path}"));
        assert_eq!(rows.collect::<BTreeSet<_>>(), described);
    }

    #[test]
    fn who_only_reads_changes_nothing() {
        for (method, path, act) in ACTS {
            let reads = *method == Method::GET || *path == "/session";
            assert_eq!(*act == View, reads, "{method} {path}");
            assert_eq!(of(method, &format!("{API}{path}")), *act);
        }
        assert_eq!(of(&Method::HEAD, "/api/v1/jobs"), View);
        assert_eq!(of(&Method::POST, "/api/v1/of-tomorrow"), Administer);
        assert_eq!(of(&Method::GET, "/jobs"), Administer);
    }

    #[test]
    fn a_refusal_names_who_may() {
        let holder = |role| Holder {
            name: "alice".to_owned(),
            digest: [0; 32],
            role,
            until: None,
        };
        let problem = authorize(&holder(Role::Viewer), Operate).unwrap_err();
        assert_eq!(problem.error, "forbidden");
        assert!(
            problem.message.contains("operator or administrator"),
            "{problem:?}"
        );
        assert!(authorize(&holder(Role::Operator), Operate).is_ok());
    }

    #[test]
    fn attack_by_many_refused_acts_adds_few_to_the_record() {
        let (acts, now) = (RefusedActs::default(), Instant::now());
        let recorded = (0..1000).filter(|_| acts.is_recorded("alice", now)).count();
        assert_eq!(recorded as u32, MOST);
        assert!(acts.is_recorded("bob", now));
        assert!(acts.is_recorded("alice", now + WINDOW * 2));
    }
}
