//! Results shared between states, since most states have most of their disk in common.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use dau_handoff::Job;

/// Results by key.
pub(crate) type Memo<K, T> = Mutex<HashMap<K, Result<T, String>>>;

/// The results of all workers for one recording; a key holds for that recording only.
#[derive(Debug, Default)]
pub struct Cache {
    // By the key of the whole partition, which is known without reading it.
    pub(crate) boot: Memo<u64, ()>,
    pub(crate) slots: Memo<(u64, &'static str), ()>,
    pub(crate) rootfs: Memo<u64, Rootfs>,
    pub(crate) mnt: Memo<u64, Jobs>,
    pub(crate) on_mnt: Memo<(u64, &'static str), String>,
    // By content.
    pub(crate) fits: Memo<u64, ()>,
    pub(crate) packages: Memo<u64, String>,
}

/// The contents of an intact root filesystem.
#[derive(Debug, Clone)]
pub(crate) struct Rootfs {
    pub(crate) version: String,
    pub(crate) settings: String,
}

/// The jobs on mnt.
#[derive(Debug, Clone)]
pub(crate) struct Jobs {
    pub(crate) current: Option<Job>,
    /// The current one, or the one that was put aside.
    pub(crate) last: Option<Job>,
}

/// Returns the cached result for this key, or computes it.
pub(crate) fn cached<K: Eq + std::hash::Hash, T: Clone>(
    cache: &Memo<K, T>,
    key: K,
    find_out: impl FnOnce() -> Result<T>,
) -> Result<T, String> {
    if let Some(found) = lock(cache).get(&key) {
        return found.clone();
    }
    let found = find_out().map_err(|error| format!("{error:#}"));
    lock(cache).insert(key, found.clone());
    found
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
