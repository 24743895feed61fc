//! Whether a rollout needs a second person, and who that can be.
//!
//! All that an operator does with a rollout passes here once.

/// What the station's configuration demands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demands {
    /// Terminals above which a rollout needs a second person; `None`: never.
    pub above: Option<u64>,
    /// Whether one without windows does.
    pub without_windows: bool,
}

/// Returns why a rollout needs a second person before it starts, if it does.
pub fn needed(demands: Demands, terminals: u64, has_windows: bool) -> Option<String> {
    if let Some(above) = demands.above.filter(|above| terminals > *above) {
        return Some(format!("it has {terminals} terminals, more than {above}"));
    }
    (demands.without_windows && !has_windows).then(|| "terminals may start at any time".to_owned())
}

/// Returns why `by` may not approve what these people asked for, if so.
pub fn refused(by: &str, asked: &[&str]) -> Option<String> {
    asked.contains(&by).then(|| {
        format!("{by} planned or started this rollout: nobody approves what he asked for himself")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_rollouts_and_those_without_windows_need_a_second_person() {
        let demands = |above, without_windows| Demands {
            above,
            without_windows,
        };
        assert!(needed(demands(None, false), 100_000, false).is_none());
        assert!(needed(demands(Some(100), false), 100, false).is_none());
        assert!(needed(demands(Some(100), false), 101, true).is_some());
        assert!(needed(demands(None, true), 1, false).is_some());
        assert!(needed(demands(None, true), 1, true).is_none());
    }

    #[test]
    fn nobody_approves_what_he_asked_for() {
        assert!(refused("alice", &["alice", "bob"]).is_some());
        assert!(refused("bob", &["alice", "bob"]).is_some());
        assert!(refused("carol", &["alice", "bob"]).is_none());
    }
}
