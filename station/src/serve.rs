//! `dau-station serve`: starts all parts, and stops them in order.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use dau_package::Keyring;
use log::{error, info, warn};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{getrlimit, setrlimit, Resource};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::{oneshot, Notify};

use crate::api_tokens::ApiTokens;
use crate::config::Config;
use crate::deltas;
use crate::init::broker_queue;
use crate::link::intake::Intake;
use crate::link::{outbound, session};
use crate::store::{self, Cause, Store};
use crate::web::connections::{Connections, Limits};
use crate::web::server::{self, Tls};
use crate::web::{self, Station};
use crate::{orders, rollouts};

/// Wait between two looks for a database that is away.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs the station until SIGTERM or SIGINT.
pub fn run(config_path: &Path) -> Result<()> {
    let config = Arc::new(Config::load(config_path)?);
    check_broker_queue(config_path, &config);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime")?
        .block_on(serve(config))
}

/// Warns of a broker that keeps fewer messages than the station counts on, where its configuration is
/// beside the station's own, as `init` writes them. Over MQTT no broker tells its limits.
fn check_broker_queue(config_path: &Path, config: &Config) {
    let beside = config_path.with_file_name("mosquitto.conf");
    let kept = fs::read_to_string(&beside)
        .ok()
        .as_deref()
        .and_then(broker_queue);
    if let Some(kept) = kept.filter(|kept| *kept < config.mqtt.broker_queue) {
        warn!(
            "mqtt.broker_queue is {}, but {} lets the broker keep {kept} messages (max_queued_messages): \
             answers of terminals will be lost; make the two equal",
            config.mqtt.broker_queue,
            beside.display()
        );
    }
}

async fn serve(config: Arc<Config>) -> Result<()> {
    let _lock = prepare(&config)?;
    // Read again at each upload; read here to report errors at once.
    Keyring::load(&config.keyring).context("keyring")?;
    let api_tokens = ApiTokens::load(&config.api.tokens).context("api.tokens")?;
    let tls = Tls::load(&config.https)?;
    let store = open_database(&config).await?;
    let listener = TcpListener::bind(config.https.listen)
        .with_context(|| format!("https.listen: cannot listen on {}", config.https.listen))?;
    listener.set_nonblocking(true)?;
    let wake = Arc::new(Notify::new());
    let (link, shared) = session::start(&config.mqtt)?;
    let intake = Intake {
        config: Arc::clone(&config),
        store: store.clone(),
        link: link.clone(),
        shared,
        wake: Arc::clone(&wake),
    };
    tokio::spawn(intake.run());
    tokio::spawn(outbound::run(
        Arc::clone(&config),
        store.clone(),
        link.clone(),
        Arc::clone(&wake),
    ));
    tokio::spawn(outbound::keep_record(Arc::clone(&config), store.clone()));
    let connections = Connections::new(Limits::new(&config.https, open_files()));
    let station = Station::new(
        Arc::clone(&config),
        store.clone(),
        api_tokens,
        wake,
        link,
        &connections,
    );
    tokio::spawn(deltas::run(Arc::clone(&station)));
    tokio::spawn(orders::run(Arc::clone(&station)));
    tokio::spawn(rollouts::run(Arc::clone(&station)));
    let egress = station.egress.clone();
    tokio::spawn(egress.clone().flush_forever(store.clone()));

    let (stop, stopped) = oneshot::channel();
    tokio::spawn(signals(
        Arc::clone(&config),
        station.clone(),
        tls.clone(),
        stop,
    ));
    info!(
        "listening on https://{}, for terminals {}",
        config.https.listen, config.https.public_url
    );
    let stall = Duration::from_secs(config.downloads.stall_seconds);
    let stopped = async { stopped.await.unwrap_or(()) };
    server::serve(
        listener,
        tls,
        web::router(station),
        connections,
        stall,
        stopped,
    )
    .await?;
    egress.flush(&store).await;
    info!("stopped");
    Ok(())
}

/// Opens the database; waits for a server that is away.
async fn open_database(config: &Config) -> Result<Store> {
    loop {
        let error = match Store::of(config).await {
            Ok(store) => return Ok(store),
            Err(error) => error,
        };
        let is_away = error
            .downcast_ref::<store::Error>()
            .is_some_and(|error| matches!(error.cause(), Cause::Away | Cause::Busy));
        if config.database.is_none() || !is_away {
            return Err(error);
        }
        let seconds = PAUSE.as_secs();
        error!("the database is waited for, next try in {seconds} s: {error:#}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Makes the folders and locks the station's own.
fn prepare(config: &Config) -> Result<Flock<fs::File>> {
    let make = |dir: &Path| {
        fs::create_dir_all(dir).with_context(|| format!("data_dir: cannot make {}", dir.display()))
    };
    make(&config.data_dir)?;
    let lock = lock(config)?;
    let incoming = Station::incoming(config);
    // Uploads that a killed station did not finish.
    let _ = fs::remove_dir_all(&incoming);
    make(&incoming)?;
    make(&Station::unsigned_dir(config))?;
    make(&Station::packages_dir(config))?;
    Ok(lock)
}

/// Keeps others from `data_dir`: two stations would empty each other's.
pub fn lock(config: &Config) -> Result<Flock<fs::File>> {
    let path = config.data_dir.join("lock");
    let file = fs::File::create(&path)
        .with_context(|| format!("data_dir: cannot write {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        let dir = config.data_dir.display();
        anyhow::anyhow!("data_dir: {dir} is in use by another dau-station ({errno})")
    })
}

/// Handles signals: SIGTERM and SIGINT stop; SIGHUP reads certificate and tokens again.
async fn signals(config: Arc<Config>, station: Arc<Station>, tls: Tls, stop: oneshot::Sender<()>) {
    let kinds = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = kinds else {
        error!("signals cannot be caught");
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => match reload(&config, &station, &tls) {
                Ok(()) => info!("certificate and tokens read again"),
                Err(error) => error!("not read again, the old stays: {error:#}"),
            },
        }
    }
    info!("stopping");
    let _ = stop.send(());
}

/// Reads certificate and tokens again; what cannot be read stays unchanged.
fn reload(config: &Config, station: &Station, tls: &Tls) -> Result<()> {
    let certificate = tls.reload(&config.https);
    station.set_api_tokens(ApiTokens::load(&config.api.tokens).context("api.tokens")?);
    certificate
}

/// Raises the limit of open files as far as the system allows, and returns it.
fn open_files() -> u64 {
    let resource = Resource::RLIMIT_NOFILE;
    let Ok((soft, hard)) = getrlimit(resource) else {
        return u64::MAX;
    };
    match setrlimit(resource, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}
