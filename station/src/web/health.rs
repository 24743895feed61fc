//! Liveness and readiness. Neither needs a token, so both must be cheap: disk and database are
//! tested at most every few seconds, however many ask.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::Json;
use nix::sys::statvfs::statvfs;
use openssl::asn1::Asn1Time;
use openssl::x509::X509;
use serde::{Deserialize, Serialize};
use tokio::time::{timeout, Instant};
use utoipa::ToSchema;

use super::Station;
use crate::config::Config;
use crate::store::Store;

/// Age of a result from which on the next request has the tests done again.
const FRESH: Duration = Duration::from_secs(5);
/// Age from which on that request waits for them: who asks all the time gets answers at once, while a
/// test waits for its turn to write.
const STALE: Duration = Duration::from_secs(15);
/// Time limit for the database: its writer can be busy with an order for very many terminals.
const PATIENCE: Duration = Duration::from_secs(20);
/// Data written to test the disk.
static PROBE: [u8; 64 << 10] = [0xA5; 64 << 10];
/// Least free bytes of a ready station: enough for the record of jobs when uploads do not fit any
/// more.
pub const MIN_FREE: u64 = 64 << 20;
/// Days before a certificate's end at which the station becomes degraded.
const MIN_DAYS: i64 = 14;

/// Liveness of the process.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Liveness {
    /// `ok`
    pub status: String,
    /// The station's version.
    pub version: String,
}

/// Readiness of the station.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `ok`; `degraded`: the broker is not connected, or a certificate ends soon; `failing`: disk
    /// or database accept no data.
    pub status: String,
    /// Whether the broker is connected.
    pub broker: bool,
    /// Whether the database accepts data.
    pub database: bool,
    /// Whether the disk accepts data and has enough free space.
    pub disk: bool,
    /// Free bytes on the disk.
    pub free_bytes: u64,
    /// Remaining days of the certificates.
    pub certificates: Vec<CertificateEnd>,
    /// Problems, for people.
    pub problems: Vec<String>,
    /// The station's version.
    pub version: String,
}

/// Remaining days of a certificate.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateEnd {
    /// The configuration's key for its file.
    pub name: String,
    /// Whole days until the first certificate in the file ends; negative if it has ended.
    pub days_left: i64,
}

/// Tells that the process is alive; touches nothing else. Needs no token.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, body = Liveness)))]
pub async fn live() -> Json<Liveness> {
    Json(Liveness {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// Tells whether the station is ready: disk, database, broker, certificates. Needs no token. The
/// results for disk and database can be some seconds old.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "`ok` or `degraded`", body = Health),
        (status = 503, description = "`failing`", body = Health),
    )
)]
pub async fn ready(State(station): State<Arc<Station>>) -> Response {
    let health = station.health.get(&station).await;
    let status = match health.status.as_str() {
        "failing" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    (status, Json(health)).into_response()
}

/// An older name of readyz.
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    responses(
        (status = 200, description = "`ok` or `degraded`", body = Health),
        (status = 503, description = "`failing`", body = Health),
    )
)]
pub async fn health(station: State<Arc<Station>>) -> Response {
    ready(station).await
}

/// The cached test results.
#[derive(Debug, Default)]
pub struct HealthCache {
    last: Arc<Mutex<Last>>,
    /// Held during the tests.
    testing: Arc<tokio::sync::Mutex<()>>,
    /// Held during a test of the database, which may outlast the others.
    probing: Arc<tokio::sync::Mutex<()>>,
}

/// The last results, and when they were found.
type Last = Option<(Instant, Arc<Checks>)>;

#[derive(Debug)]
struct Checks {
    database: Result<(), String>,
    disk: Result<(), String>,
    free_bytes: u64,
    certificates: Vec<(&'static str, Result<i64, String>)>,
}

impl HealthCache {
    async fn get(&self, station: &Arc<Station>) -> Health {
        let last = lock(&self.last).clone();
        let found = match last {
            Some((at, found)) if at.elapsed() < FRESH => found,
            Some((at, found)) if at.elapsed() < STALE => {
                if let Ok(turn) = Arc::clone(&self.testing).try_lock_owned() {
                    let station = Arc::clone(station);
                    tokio::spawn(async move {
                        station.health.test(&station).await;
                        drop(turn);
                    });
                }
                found
            }
            _ => {
                let _turn = self.testing.lock().await;
                // Maybe somebody else had it done meanwhile.
                let last = lock(&self.last).clone();
                match last.filter(|(at, _)| at.elapsed() < FRESH) {
                    Some((_, found)) => found,
                    None => self.test(station).await,
                }
            }
        };
        found.health(station.link.is_up())
    }

    async fn test(&self, station: &Station) -> Arc<Checks> {
        let found = Arc::new(self.run(&station.config, &station.store).await);
        *lock(&self.last) = Some((Instant::now(), Arc::clone(&found)));
        found
    }

    async fn run(&self, config: &Arc<Config>, store: &Store) -> Checks {
        let database = self.database(store).await;
        let config = Arc::clone(config);
        let checked = tokio::task::spawn_blocking(move || {
            let (free_bytes, disk) = disk(&config.data_dir);
            (free_bytes, disk, certificates(&config))
        });
        let (free_bytes, disk, certificates) = checked
            .await
            .unwrap_or_else(|error| (0, Err(error.to_string()), Vec::new()));
        Checks {
            database,
            disk,
            free_bytes,
            certificates,
        }
    }

    async fn database(&self, store: &Store) -> Result<(), String> {
        let silent = || format!("the database accepted no data for {} s", PATIENCE.as_secs());
        let turn = Arc::clone(&self.probing).try_lock_owned();
        let turn = turn.map_err(|_| silent())?;
        let store = store.clone();
        let probe = tokio::spawn(async move {
            let done = store.probe().await;
            drop(turn);
            done
        });
        match timeout(PATIENCE, probe).await {
            Ok(Ok(done)) => done.map_err(|error| format!("the database accepts no data: {error}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(silent()),
        }
    }
}

fn lock(last: &Mutex<Last>) -> MutexGuard<'_, Last> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the free bytes, and whether the disk accepts data.
fn disk(data_dir: &Path) -> (u64, Result<(), String>) {
    let shown = data_dir.display();
    let free = match statvfs(data_dir) {
        Ok(found) => found
            .blocks_available()
            .saturating_mul(found.fragment_size()),
        Err(error) => return (0, Err(format!("{shown} cannot be checked at: {error}"))),
    };
    let probe = || {
        let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
        file.write_all(&PROBE)?;
        file.as_file().sync_all()
    };
    let disk = probe().map_err(|error| format!("{shown} accepts no data: {error}"));
    let disk = disk.and_then(|()| match free < MIN_FREE {
        true => Err(format!("{shown} has {free} bytes left")),
        false => Ok(()),
    });
    (free, disk)
}

/// Returns the remaining days of the configured certificates.
fn certificates(config: &Config) -> Vec<(&'static str, Result<i64, String>)> {
    [
        ("https.certificate", &config.https.certificate),
        ("mqtt.certificate", &config.mqtt.certificate),
        ("mqtt.ca", &config.mqtt.ca),
    ]
    .map(|(name, path)| (name, days_left(path).map_err(|error| error.to_string())))
    .to_vec()
}

fn days_left(path: &Path) -> anyhow::Result<i64> {
    let chain = X509::stack_from_pem(&fs::read(path)?)?;
    let now = Asn1Time::days_from_now(0)?;
    let mut days = Vec::new();
    for certificate in &chain {
        days.push(i64::from(now.diff(certificate.not_after())?.days));
    }
    let first = days.into_iter().min();
    first.ok_or_else(|| anyhow::anyhow!("it holds no certificate"))
}

impl Checks {
    fn health(&self, broker: bool) -> Health {
        let mut problems: Vec<String> = [&self.database, &self.disk]
            .into_iter()
            .filter_map(|found| found.clone().err())
            .collect();
        let failing = !problems.is_empty();
        if !broker {
            problems.push("the broker cannot be reached".to_owned());
        }
        let mut certificates = Vec::new();
        for (name, days) in &self.certificates {
            match days {
                Ok(days_left) => {
                    if *days_left < MIN_DAYS {
                        problems.push(format!("{name} ends in {days_left} days"));
                    }
                    certificates.push(CertificateEnd {
                        name: (*name).to_owned(),
                        days_left: *days_left,
                    });
                }
                Err(error) => problems.push(format!("{name}: {error}")),
            }
        }
        let status = match (failing, problems.is_empty()) {
            (true, _) => "failing",
            (false, true) => "ok",
            (false, false) => "degraded",
        };
        Health {
            status: status.to_owned(),
            broker,
            database: self.database.is_ok(),
            disk: self.disk.is_ok(),
            free_bytes: self.free_bytes,
            certificates,
            problems,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(disk: Result<(), String>, days: i64) -> Checks {
        Checks {
            database: Ok(()),
            disk,
            free_bytes: 1,
            certificates: vec![("https.certificate", Ok(days))],
        }
    }

    #[test]
    fn each_part_counts() {
        let full = || Err("no space".to_owned());
        let cases = [
            (checks(Ok(()), 100), true, "ok"),
            (checks(Ok(()), 100), false, "degraded"),
            (checks(Ok(()), 3), true, "degraded"),
            (checks(Ok(()), -3), true, "degraded"),
            (checks(full(), 100), true, "failing"),
            (checks(full(), 100), false, "failing"),
        ];
        for (found, broker, status) in cases {
            let health = found.health(broker);
            assert_eq!(health.status, status, "{health:?}");
            assert_eq!(health.problems.is_empty(), status == "ok", "{health:?}");
        }
    }

    #[test]
    fn a_directory_that_is_gone_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(disk(dir.path()).0 > 0);
        assert!(disk(&dir.path().join("gone")).1.is_err());
    }
}
