//! Connections: one thread each, few of them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::apdu::{Apdu, Violation};
use super::points::Points;
use super::session::Session;
use super::settings::Settings;

/// Most connections: control centres, their spare lines, and a health check. Further ones are
/// closed at once.
pub const MAX_CONNECTIONS: usize = 8;
/// Shortest read timeout, as zero would mean none.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Listens at the configured address.
pub fn listen(settings: &Settings) -> Result<TcpListener> {
    let address = settings.listen;
    let listener =
        TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    log::info!("listening on {address}");
    Ok(listener)
}

/// Serves for ever.
pub fn serve(listener: TcpListener, settings: Settings, points: Points) -> Result<()> {
    let shared = Arc::new((settings, points));
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                // For instance for lack of file descriptors, which passes.
                log::warn!("cannot accept a connection: {error}");
                std::thread::sleep(Duration::from_secs(1));
                continue;
            }
        };
        let place = Place::take(&open);
        let Some(place) = place else {
            log::warn!("{peer} is turned away: {MAX_CONNECTIONS} connections are open");
            continue;
        };
        let shared = shared.clone();
        std::thread::Builder::new()
            .name(peer.to_string())
            .spawn(move || {
                let _place = place;
                log::info!("{peer} connected");
                match converse(stream, &shared.0, &shared.1) {
                    Ok(()) => log::info!("{peer} closed the connection"),
                    Err(error) => log::warn!("{peer} is disconnected: {error}"),
                }
            })
            .context("cannot start a thread")?;
    }
}

/// A permit for one of [`MAX_CONNECTIONS`]; dropping it frees it.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        let taken = Place(open.clone());
        (open.fetch_add(1, Ordering::SeqCst) < MAX_CONNECTIONS).then_some(taken)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Serves a connection until the other side closes it or violates the standard.
fn converse(mut stream: TcpStream, settings: &Settings, points: &Points) -> io::Result<()> {
    let violated = |violation: Violation| io::Error::new(ErrorKind::InvalidData, violation.0);
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(settings.t1()))?;
    let mut session = Session::new(settings, points, Instant::now());
    let mut received = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        while let Some(apdu) = Apdu::take(&mut received).map_err(violated)? {
            let answers = session.receive(apdu, Instant::now()).map_err(violated)?;
            write(&mut stream, &answers)?;
        }
        let due = session.tick(Instant::now()).map_err(violated)?;
        write(&mut stream, &due)?;
        let wait = session.deadline().saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(wait.max(SHORTEST_WAIT)))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error)
                if [
                    ErrorKind::WouldBlock,
                    ErrorKind::TimedOut,
                    ErrorKind::Interrupted,
                ]
                .contains(&error.kind()) => {}
            Err(error) => return Err(error),
        }
    }
}

fn write(stream: &mut TcpStream, apdus: &[Apdu]) -> io::Result<()> {
    let bytes: Vec<u8> = apdus.iter().flat_map(Apdu::encode).collect();
    stream.write_all(&bytes)
}
