//! The fleet: what its connections share, and its start and end.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use dau_rig::pki::SitePki;
use openssl::pkey::PKey;
use openssl::x509::X509;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::character::{Character, Millis};
use crate::crowd::{start_of, Crowd};
use crate::fetch::Download;
use crate::job::STEPS;
use crate::options::Options;
use crate::terminal::{Habits, News, Terminal};
use crate::wire::{Dialer, Identity};

/// Downloads at the same time: below the station's `https.connections_per_address`, or a slow machine's
/// handshakes close each other.
const DOWNLOADS: usize = 50;

/// What all connections share.
pub struct Shared {
    pub dialer: Dialer,
    /// Ports of the stations' HTTPS services.
    pub https: Vec<u16>,
    pub download: Download,
    pub downloads: Semaphore,
    /// Part of the messages on their way that are lost with a connection.
    pub loss: f64,
    /// Connections that are open.
    pub connected: AtomicUsize,
    pub tally: Tally,
    /// Messages sent.
    pub sent: AtomicU64,
    failure: Mutex<Option<String>>,
    /// Jobs that terminals have accepted.
    jobs: Mutex<Vec<i64>>,
    start: Instant,
    stop: AtomicBool,
}

/// What the fleet has seen so far.
#[derive(Debug, Default)]
pub struct Tally {
    counts: [AtomicUsize; 3],
    last: [AtomicU64; 3],
}

impl Tally {
    /// Counts.
    pub fn note(&self, news: News, now: Millis) {
        let index = news as usize;
        self.counts[index].fetch_add(1, Ordering::Relaxed);
        self.last[index].fetch_max(now, Ordering::Relaxed);
    }

    /// Returns how often it was seen.
    pub fn count(&self, news: News) -> usize {
        self.counts[news as usize].load(Ordering::Relaxed)
    }

    /// Returns when it was seen last.
    pub fn last(&self, news: News) -> Millis {
        self.last[news as usize].load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Returns the time since the start.
    pub fn now(&self) -> Millis {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    /// Returns the instant of a time.
    pub fn instant(&self, at: Millis) -> Instant {
        self.start + Duration::from_millis(at)
    }

    /// Tells whether the fleet is to stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns the station that serves the download for a job.
    pub fn https_for(&self, job: i64) -> u16 {
        let index = job.unsigned_abs() as usize % self.https.len().max(1);
        self.https.get(index).copied().unwrap_or_default()
    }

    /// Keeps the id of a job that a terminal accepted.
    pub fn note_job(&self, job: i64) {
        self.jobs
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .push(job);
    }

    /// Returns the id of some terminal's job, once there is one.
    pub fn some_job(&self, rng: &mut fastrand::Rng) -> Option<i64> {
        let jobs = self.jobs.lock().unwrap_or_else(|e| e.into_inner());
        rng.choice(jobs.iter().copied())
    }

    /// Keeps why a connection was not made, the last time.
    pub fn note_failure(&self, error: &anyhow::Error) {
        *self.failure.lock().unwrap_or_else(|e| e.into_inner()) = Some(format!("{error:#}"));
    }

    /// Returns why a connection was not made, the last time.
    pub fn last_failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .clone()
    }
}

/// A running fleet.
pub struct Fleet {
    pub shared: Arc<Shared>,
    /// Connections, once all are made.
    pub connections: usize,
    crowds: Vec<JoinHandle<Vec<Terminal>>>,
}

/// Returns the names of the clients of the broker that many terminals share.
pub fn shared_clients(options: &Options) -> Vec<String> {
    let count = match options.each {
        0 | 1 => 0,
        each => options.terminals.div_ceil(each),
    };
    (0..count)
        .map(|number| format!("crowd-{number:04}"))
        .collect()
}

/// Returns the id of a terminal.
pub fn terminal_id(number: usize) -> String {
    format!("F-{number:06}")
}

impl Fleet {
    /// Starts to connect.
    pub fn start(options: &Options, pki: &SitePki, broker: u16, https: Vec<u16>) -> Result<Self> {
        let shared = Arc::new(Shared {
            dialer: Dialer::new(&pki.ca(), broker)?,
            https,
            download: options.download,
            downloads: Semaphore::new(DOWNLOADS),
            loss: options.faults().loss,
            connected: AtomicUsize::new(0),
            tally: Tally::default(),
            sent: AtomicU64::new(0),
            failure: Mutex::new(None),
            jobs: Mutex::default(),
            start: Instant::now(),
            stop: AtomicBool::new(false),
        });
        let habits = Arc::new(Habits {
            floor: options.floor,
            repeat: (options.repeat, 3_600_000.max(options.repeat)),
            heartbeat: options.heartbeat,
            fetches: options.download != Download::None,
            epoch: epoch(),
        });
        let faults = options.faults();
        let terminal = |number| {
            let who = Character::draw(options.seed, number, &faults, STEPS.len());
            Terminal::new(terminal_id(number), who, Arc::clone(&habits))
        };
        let each = options.each.max(1);
        let names = match options.each {
            0 | 1 => (0..options.terminals).map(terminal_id).collect(),
            _ => shared_clients(options),
        };
        let identities: Vec<Arc<Identity>> = names
            .into_iter()
            .map(|name| identity(pki, name).map(Arc::new))
            .collect::<Result<_>>()?;
        let first = Instant::now();
        let crowds = identities
            .into_iter()
            .enumerate()
            .map(|(number, identity)| {
                let from = number * each;
                let members = (from..options.terminals.min(from + each))
                    .map(terminal)
                    .collect();
                let crowd = Crowd::new(Arc::clone(&shared), identity, members);
                let rate = options.rate / each as f64;
                tokio::spawn(crowd.run(start_of(first, number, rate)))
            });
        let crowds: Vec<_> = crowds.collect();
        Ok(Fleet {
            shared: Arc::clone(&shared),
            connections: crowds.len(),
            crowds,
        })
    }

    /// Ends all connections; returns the terminals.
    pub async fn stop(self) -> Result<Vec<Terminal>> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut terminals = Vec::new();
        for crowd in self.crowds {
            terminals.extend(crowd.await?);
        }
        Ok(terminals)
    }
}

/// Returns the present time, seconds since 1970.
pub fn epoch() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// Makes the certificate of a client.
pub fn identity(pki: &SitePki, name: String) -> Result<Identity> {
    pki.add_client(&name)?;
    let (certificate, key) = pki.client(&name);
    Ok(Identity {
        certificate: X509::from_pem(&std::fs::read(certificate)?)?,
        key: PKey::private_key_from_pem(&std::fs::read(key)?)?,
        name,
    })
}
