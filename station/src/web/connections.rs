//! Limits of connections: in total, per address, and with room for authenticated ones.
//!
//! A connection is a guest until a request on it has a valid token. Guests are few per address, and
//! if there are too many, the oldest is closed for a new one: silent connections shut nobody out.
//! Guests never displace authenticated connections.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::config::Https;

/// File descriptors reserved for database, broker, packages and log.
const SPARE_FILES: u64 = 64;
/// One in this many connections may be a guest's.
const GUEST_SHARE: usize = 4;

/// Limits of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most authenticated connections.
    pub authenticated: usize,
    /// Most guests.
    pub guests: usize,
    /// Most guests of one address.
    pub guests_per_address: usize,
}

impl Limits {
    /// Returns the configured limits, reduced to what `open_files` (RLIMIT_NOFILE) allows: a
    /// download needs a socket and a file.
    pub fn new(https: &Https, open_files: u64) -> Self {
        let possible = open_files.saturating_sub(SPARE_FILES) / 2;
        let all = https
            .connections
            .min(usize::try_from(possible).unwrap_or(usize::MAX))
            .max(2 * GUEST_SHARE);
        let guests = all.checked_div(GUEST_SHARE).unwrap_or(all);
        Limits {
            authenticated: all.saturating_sub(guests),
            guests,
            guests_per_address: https.connections_per_address.min(guests),
        }
    }
}

/// An address for counting: an IPv4 address, or the /64 that an IPv6 host chooses its addresses
/// from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpAddr);

impl Network {
    /// Returns the network of `address`.
    pub fn of(address: IpAddr) -> Self {
        Network(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        })
    }

    /// Returns the network of requests without a connection.
    pub fn none() -> Self {
        Network(Ipv4Addr::UNSPECIFIED.into())
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

/// The open connections.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    authenticated: HashSet<u64>,
    guests: HashMap<u64, (Network, Arc<Notify>)>,
    /// Guests by address, oldest first.
    waiting: HashMap<Network, BTreeSet<u64>>,
}

/// An open connection; dropping it makes room for another.
#[derive(Debug)]
pub struct Connection {
    connections: Connections,
    id: u64,
    network: Network,
    close: Arc<Notify>,
}

impl Connections {
    /// Starts without connections.
    pub fn new(limits: Limits) -> Self {
        Connections(Arc::new(Inner {
            limits,
            state: Mutex::default(),
        }))
    }

    /// Returns the limits.
    pub fn limits(&self) -> Limits {
        self.0.limits
    }

    /// Adds a guest; if there are too many, closes another guest's connection.
    pub fn add(&self, address: IpAddr) -> Arc<Connection> {
        let network = Network::of(address);
        let close = Arc::new(Notify::new());
        let mut state = self.state();
        if let Some(leaving) = state.displaced(&self.0.limits, network) {
            state.close(leaving);
        }
        state.last = state.last.wrapping_add(1);
        let id = state.last;
        state.guests.insert(id, (network, Arc::clone(&close)));
        state.waiting.entry(network).or_default().insert(id);
        Arc::new(Connection {
            connections: self.clone(),
            id,
            network,
            close,
        })
    }

    /// Closes the oldest guest of the busiest address, to free file descriptors.
    pub fn make_room(&self) {
        let mut state = self.state();
        if let Some(leaving) = state.oldest_of_busiest() {
            state.close(leaving);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the guest to close for a new one from `network`.
    fn displaced(&self, limits: &Limits, network: Network) -> Option<u64> {
        let same = self.waiting.get(&network);
        if same.is_some_and(|same| same.len() >= limits.guests_per_address) {
            return same.and_then(|same| same.first().copied());
        }
        match self.guests.len() >= limits.guests {
            true => self.oldest_of_busiest(),
            false => None,
        }
    }

    fn oldest_of_busiest(&self) -> Option<u64> {
        let busiest = self.waiting.values().max_by_key(|ids| ids.len())?;
        busiest.first().copied()
    }

    fn close(&mut self, id: u64) {
        if let Some(close) = self.remove_guest(id) {
            close.notify_one();
        }
    }

    fn remove_guest(&mut self, id: u64) -> Option<Arc<Notify>> {
        let (network, close) = self.guests.remove(&id)?;
        if let Entry::Occupied(mut same) = self.waiting.entry(network) {
            same.get_mut().remove(&id);
            if same.get().is_empty() {
                same.remove();
            }
        }
        Some(close)
    }
}

impl Connection {
    /// Returns its network.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Makes it an authenticated connection; returns false if there are too many of those.
    pub fn authenticate(&self) -> bool {
        let mut state = self.connections.state();
        if !state.guests.contains_key(&self.id) {
            // Authenticated already, or about to be closed.
            return true;
        }
        if state.authenticated.len() >= self.connections.0.limits.authenticated {
            return false;
        }
        state.remove_guest(self.id);
        state.authenticated.insert(self.id);
        true
    }

    /// Closes the connection, whatever happens on it.
    pub fn close(&self) {
        self.close.notify_one();
    }

    /// Waits until the connection must be closed.
    pub async fn closed(&self) {
        self.close.notified().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.connections.state();
        state.remove_guest(self.id);
        state.authenticated.remove(&self.id);
    }
}

#[cfg(test)]
mod tests;
