//! Counters of orders: how many of their jobs are in which state.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::store::sql::params;
use crate::store::{Result, Write};

/// Changes of counters in one transaction. They are written at its end: one row each, and in one
/// order, so that transactions of two stations do not wait for each other.
#[derive(Debug, Default)]
pub struct Counts(RefCell<BTreeMap<Counter, i64>>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Counter {
    order: i64,
    what: &'static str,
    word: String,
}

impl Counts {
    /// Notes that a job of `order` went from a state to a state or outcome; `None`: it is new.
    pub fn job(&self, order: i64, from: Option<&str>, to: &str) {
        if let Some(from) = from {
            self.add(order, "job", from, -1);
        }
        self.add(order, "job", to, 1);
    }

    /// Notes that `order` skipped a terminal.
    pub fn skipped(&self, order: i64, reason: &str) {
        self.add(order, "skipped", reason, 1);
    }

    fn add(&self, order: i64, what: &'static str, word: &str, change: i64) {
        let word = word.to_owned();
        let mut counts = self.0.borrow_mut();
        let count = counts.entry(Counter { order, what, word }).or_default();
        *count = count.saturating_add(change);
    }

    /// Writes the changes.
    pub fn write(&self, w: &Write<'_>) -> Result<()> {
        for (counter, change) in self.0.take() {
            if change != 0 {
                w.run(
                    "INSERT INTO order_counts (order_id, what, word, number) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (order_id, what, word) DO UPDATE \
                     SET number = order_counts.number + excluded.number",
                    params![counter.order, counter.what, counter.word, change],
                )?;
            }
        }
        Ok(())
    }
}
