//! What was found out already: most states share most of their disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use dau_handoff::Job;

/// Answers by what was asked.
pub(crate) type Memo<K, T> = Mutex<HashMap<K, Result<T, String>>>;

/// What was judged once already, by all workers: of one recording, since keys are those of its requests.
#[derive(Debug, Default)]
pub struct Known {
    // By the key of the whole partition, which is known before anything is read.
    pub(crate) boot: Memo<u64, ()>,
    pub(crate) slots: Memo<(u64, &'static str), ()>,
    pub(crate) rootfs: Memo<u64, Rootfs>,
    pub(crate) mnt: Memo<u64, Jobs>,
    pub(crate) on_mnt: Memo<(u64, &'static str), String>,
    // By content.
    pub(crate) fits: Memo<u64, ()>,
    pub(crate) packages: Memo<u64, String>,
}

/// What is to be known of a root filesystem that is whole.
#[derive(Debug, Clone)]
pub(crate) struct Rootfs {
    pub(crate) version: String,
    pub(crate) settings: String,
}

/// The jobs on mnt.
#[derive(Debug, Clone)]
pub(crate) struct Jobs {
    /// The current one.
    pub(crate) current: Option<Job>,
    /// The same, or the one that was put aside.
    pub(crate) last: Option<Job>,
}

/// What was found out about this key, or is now.
pub(crate) fn remembered<K: Eq + std::hash::Hash, T: Clone>(
    known: &Memo<K, T>,
    key: K,
    find_out: impl FnOnce() -> Result<T>,
) -> Result<T, String> {
    if let Some(found) = lock(known).get(&key) {
        return found.clone();
    }
    let found = find_out().map_err(|error| format!("{error:#}"));
    lock(known).insert(key, found.clone());
    found
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
