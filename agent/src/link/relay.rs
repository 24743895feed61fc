//! The MQTT client's way to the broker: rumqttc makes its TCP connections itself and lets nobody
//! count on them, so it connects to this thread by a local socket, and TLS and the connection are
//! ours.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use native_tls::TlsConnector;
use tokio::io::{copy, split, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_native_tls::TlsStream;

use crate::traffic::{connect, Counted, Traffic};

/// Longest wait for the last bytes to leave.
const PARTING: Duration = Duration::from_secs(2);

/// Most connections of tries that came to nothing.
const MAX_LEFT: usize = 64;

type Station = TlsStream<Counted<TcpStream>>;

/// A local socket of which only this process is heard, and the runtime of both ends.
#[derive(Debug)]
pub struct Relay {
    runtime: Runtime,
    listener: Arc<UnixListener>,
    passing: Option<JoinHandle<()>>,
    /// Why the connection to the broker ended.
    ended: Arc<Mutex<Option<String>>>,
    traffic: Traffic,
}

impl Relay {
    /// Returns the relay and the path to connect to: one in the abstract namespace (unix(7)).
    pub fn new(traffic: &Traffic) -> io::Result<(Self, String)> {
        let mut random = [0; 8];
        openssl::rand::rand_bytes(&mut random).map_err(io::Error::other)?;
        let name = format!("dau-agent-{}", dau_model::hex::encode(random));
        let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        listener.set_nonblocking(true)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(async { UnixListener::from_std(listener) })?;
        let relay = Relay {
            runtime,
            listener: Arc::new(listener),
            passing: None,
            ended: Arc::default(),
            traffic: traffic.clone(),
        };
        Ok((relay, format!("\0{name}")))
    }

    /// Drives the runtime until `future` is done.
    pub fn block_on<F: std::future::Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Connects to the broker; the MQTT client is to connect next.
    pub fn connect(
        &mut self,
        (host, port): (&str, u16),
        tls: TlsConnector,
        patience: Duration,
    ) -> anyhow::Result<()> {
        self.close();
        self.ended_with();
        let station = self.runtime.block_on(async {
            let stream = connect::connect((host, port), patience, &self.traffic).await?;
            let station = connect::tls(tls, host, stream, patience).await;
            // Of a try that came to nothing.
            for _ in 0..MAX_LEFT {
                let left = timeout(Duration::ZERO, self.listener.accept()).await;
                if !matches!(left, Ok(Ok(_))) {
                    break;
                }
            }
            station
        })?;
        let (listener, ended) = (self.listener.clone(), self.ended.clone());
        self.passing = Some(self.runtime.spawn(async move {
            if let Err(error) = pass(&listener, station).await {
                let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
                *ended = Some(format!("{error:#}"));
            }
        }));
        Ok(())
    }

    /// Ends the connection to the broker at once.
    pub fn close(&mut self) {
        if let Some(passing) = self.passing.take() {
            passing.abort();
            let _ = self.runtime.block_on(passing);
        }
    }

    /// Returns why the connection to the broker ended, where that is known.
    pub fn ended_with(&self) -> Option<String> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.take()
    }

    /// Lets what the MQTT client has sent leave, before the thread ends.
    pub fn finish(&mut self) {
        if let Some(passing) = self.passing.take() {
            let _ = self
                .runtime
                .block_on(async { timeout(PARTING, passing).await });
        }
    }
}

/// Passes bytes on until either side ends.
async fn pass(listener: &UnixListener, station: Station) -> anyhow::Result<()> {
    let (mut from_client, mut to_client) = split(accept(listener).await?);
    let (mut from_station, mut to_station) = split(station);
    tokio::select! {
        sent = copy(&mut from_client, &mut to_station) => {
            to_station.shutdown().await?;
            sent
        }
        received = copy(&mut from_station, &mut to_client) => received,
    }
    .map(drop)
    .context("the connection to the broker is lost")
}

/// Waits for the MQTT client: anybody on this machine may connect, but only this process is taken.
async fn accept(listener: &UnixListener) -> io::Result<UnixStream> {
    let ours = i32::try_from(std::process::id()).ok();
    loop {
        let (client, _) = listener.accept().await?;
        if client.peer_cred()?.pid() == ours {
            return Ok(client);
        }
        log::warn!("another process wanted to speak to the station in our name");
    }
}
