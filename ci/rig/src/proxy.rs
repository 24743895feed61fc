//! A TCP proxy in front of the station: the terminal's link, whose bytes are counted, whose speed is
//! limited, and which can be cut or made to drop again and again.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

/// Small, so that a cut loses little data in transit.
const CHUNK: usize = 16 * 1024;
/// Bytes that wait in the kernel on their way to the terminal: a link holds few, and they are counted.
const WAITING: usize = 16 * 1024;
const TICK: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Shared {
    /// Bytes per second towards the terminal; 0: no limit.
    limit: AtomicU64,
    down: AtomicU64,
    up: AtomicU64,
    /// Bytes towards the terminal after which the link drops; 0: never.
    drop_every: AtomicU64,
    /// Silence before it does, milliseconds.
    stall: AtomicU64,
    /// Connections older than the latest generation are cut.
    generation: AtomicU64,
    stop: AtomicBool,
}

/// A port of the loopback interface that forwards to another one. Dropping it ends its connections.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

impl Proxy {
    /// Listens on a free port and forwards to `target` on the loopback interface.
    pub fn to(target: u16) -> Result<Self> {
        Self::start(target, Arc::default())
    }

    /// Forwards to another port over the same link: what is counted and cut is that of both.
    pub fn beside(&self, target: u16) -> Result<Self> {
        Self::start(target, self.shared.clone())
    }

    fn start(target: u16, shared: Arc<Shared>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let accepting = shared.clone();
        std::thread::spawn(move || accept(&listener, target, &accepting));
        Ok(Proxy { shared, port })
    }

    /// Returns the port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Limits the bytes per second towards the terminal; `None`: no limit.
    pub fn limit(&self, bytes_per_second: Option<u64>) {
        self.shared
            .limit
            .store(bytes_per_second.unwrap_or(0), Ordering::Relaxed);
    }

    /// Returns the number of bytes sent towards the terminal, TLS included.
    pub fn bytes_down(&self) -> u64 {
        self.shared.down.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes sent in both directions, TLS included.
    pub fn bytes(&self) -> u64 {
        self.bytes_down()
            .saturating_add(self.shared.up.load(Ordering::Relaxed))
    }

    /// Lets the link drop after each so many bytes towards the terminal, after a silence in which
    /// what the station sends is lost.
    pub fn drop_every(&self, bytes: u64, silence: Duration) {
        let silence = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
        self.shared.stall.store(silence, Ordering::Relaxed);
        self.shared.drop_every.store(bytes, Ordering::Relaxed);
    }

    /// Cuts all connections; new ones are accepted.
    pub fn cut(&self) {
        self.shared.generation.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.cut();
    }
}

fn accept(listener: &TcpListener, target: u16, shared: &Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((terminal, _)) = listener.accept() else {
            std::thread::sleep(TICK);
            continue;
        };
        // A stopped station refuses connections; so does the proxy.
        let Ok(station) = TcpStream::connect(("127.0.0.1", target)) else {
            continue;
        };
        let _ = socket2::SockRef::from(&terminal).set_send_buffer_size(WAITING);
        let generation = shared.generation.load(Ordering::Relaxed);
        for (from, to, down) in [(&terminal, &station, false), (&station, &terminal, true)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else {
                continue;
            };
            let shared = shared.clone();
            std::thread::spawn(move || {
                pass(&from, &to, down, generation, &shared);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    }
}

/// Copies bytes until either side ends or the connection is cut.
fn pass(mut from: &TcpStream, mut to: &TcpStream, down: bool, generation: u64, shared: &Shared) {
    let mut buffer = [0; CHUNK];
    if from.set_nonblocking(false).is_err() || from.set_read_timeout(Some(TICK)).is_err() {
        return;
    }
    while shared.generation.load(Ordering::Relaxed) == generation {
        let length = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue
            }
            Err(_) => return,
        };
        // Counted first, so that received bytes are always counted.
        let counter = if down { &shared.down } else { &shared.up };
        let before = counter.fetch_add(length as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..length]).is_err() {
            return;
        }
        if down {
            let every = shared.drop_every.load(Ordering::Relaxed);
            if every > 0 && before / every != (before + length as u64) / every {
                let silence = shared.stall.load(Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(silence));
                shared.generation.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let limit = shared.limit.load(Ordering::Relaxed);
            if limit > 0 {
                std::thread::sleep(Duration::from_secs_f64(length as f64 / limit as f64));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_passed_counted_and_cut() {
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = Proxy::to(server.local_addr().unwrap().port()).unwrap();
        let mut terminal = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let (mut station, _) = server.accept().unwrap();
        terminal.write_all(b"ask").unwrap();
        let mut asked = [0; 3];
        station.read_exact(&mut asked).unwrap();
        station.write_all(&[7; 100_000]).unwrap();
        let mut answer = vec![0; 100_000];
        terminal.read_exact(&mut answer).unwrap();
        assert_eq!((&asked, proxy.bytes_down()), (b"ask", 100_000));
        assert_eq!(proxy.bytes(), 100_003);
        proxy.cut();
        assert_eq!(terminal.read(&mut answer).unwrap_or(0), 0);
    }

    #[test]
    fn a_link_that_drops_takes_every_connection_on_it_along() {
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let link = Proxy::to(server.local_addr().unwrap().port()).unwrap();
        let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let beside = link.beside(other.local_addr().unwrap().port()).unwrap();
        link.drop_every(50_000, Duration::from_millis(10));
        let mut idle = TcpStream::connect(("127.0.0.1", beside.port())).unwrap();
        let _station = other.accept().unwrap();
        let mut busy = TcpStream::connect(("127.0.0.1", link.port())).unwrap();
        let (mut station, _) = server.accept().unwrap();
        let _ = station.write_all(&[7; 100_000]);
        let mut answer = Vec::new();
        let _ = busy.read_to_end(&mut answer);
        assert!(
            (50_000..50_000 + CHUNK).contains(&answer.len()),
            "{}",
            answer.len()
        );
        assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0);
        assert_eq!(beside.bytes(), answer.len() as u64);
    }
}
