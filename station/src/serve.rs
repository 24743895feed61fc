//! `dau-station serve`: everything started, and stopped in order.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum_server::tls_openssl::OpenSSLConfig;
use axum_server::Handle;
use dau_package::Keyring;
use log::{error, info};
use nix::fcntl::{Flock, FlockArg};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::Notify;

use crate::api_tokens::ApiTokens;
use crate::config::Config;
use crate::link::{pump, session};
use crate::store::Store;
use crate::web::{self, server, Station};

/// How long downloads may go on after the order to stop: terminals resume them.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the station until SIGTERM or SIGINT.
pub fn run(config_path: &Path) -> Result<()> {
    let config = Arc::new(Config::load(config_path)?);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime")?
        .block_on(serve(config))
}

async fn serve(config: Arc<Config>) -> Result<()> {
    let _lock = prepare(&config)?;
    // Read again at each upload; here it is only to be told of errors at once.
    Keyring::load(&config.keyring).context("keyring")?;
    let api_tokens = ApiTokens::load(&config.api.tokens).context("api.tokens")?;
    let tls = OpenSSLConfig::from_acceptor(server::tls(&config.https)?);
    let listener = TcpListener::bind(config.https.listen)
        .with_context(|| format!("https.listen: cannot listen on {}", config.https.listen))?;
    listener.set_nonblocking(true)?;

    let store = Store::open(&config.data_dir.join("station.db"))?;
    let wake = Arc::new(Notify::new());
    let link = session::start(Arc::clone(&config), store.clone(), Arc::clone(&wake))?;
    tokio::spawn(pump::run(
        Arc::clone(&config),
        store.clone(),
        link.clone(),
        Arc::clone(&wake),
    ));
    let station = Station::new(Arc::clone(&config), store.clone(), api_tokens, wake, link);
    let egress = station.egress.clone();
    tokio::spawn(egress.clone().flush_forever(store.clone()));

    let handle = Handle::new();
    let stop = handle.clone();
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
    server::serve(listener, tls, web::router(station), stall, handle).await?;
    egress.flush(&store).await;
    info!("stopped");
    Ok(())
}

/// Makes the directories, and takes hold of them: two stations on one database would both send its orders.
fn prepare(config: &Config) -> Result<Flock<fs::File>> {
    let make = |dir: &Path| {
        fs::create_dir_all(dir).with_context(|| format!("data_dir: cannot make {}", dir.display()))
    };
    make(&config.data_dir)?;
    let path = config.data_dir.join("lock");
    let file = fs::File::create(&path)
        .with_context(|| format!("data_dir: cannot write {}", path.display()))?;
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        let dir = config.data_dir.display();
        anyhow::anyhow!("data_dir: {dir} is in use by another dau-station ({errno})")
    })?;
    let incoming = Station::incoming(config);
    // What a killed station was receiving.
    let _ = fs::remove_dir_all(&incoming);
    make(&incoming)?;
    make(&Station::packages_dir(config))?;
    Ok(lock)
}

/// SIGTERM and SIGINT stop; SIGHUP reads certificate and tokens again.
async fn signals(config: Arc<Config>, station: Station, tls: OpenSSLConfig, handle: Handle) {
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
                Err(error) => error!("not read again, the old ones stay: {error:#}"),
            },
        }
    }
    info!("stopping");
    handle.graceful_shutdown(Some(GRACE));
}

fn reload(config: &Config, station: &Station, tls: &OpenSSLConfig) -> Result<()> {
    let acceptor = server::tls(&config.https)?;
    station.set_api_tokens(ApiTokens::load(&config.api.tokens).context("api.tokens")?);
    tls.reload_from_acceptor(acceptor);
    Ok(())
}
