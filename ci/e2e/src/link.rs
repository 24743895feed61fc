//! The line between a terminal and the station's file service: every byte counted, speed limited, cut on demand.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

/// Small, so that a cut connection has little on the way.
const CHUNK: usize = 16 * 1024;
const TICK: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Shared {
    target: AtomicU16,
    /// Bytes a second towards the terminal; 0 for no limit.
    limit: AtomicU64,
    down: AtomicU64,
    /// Connections made before this count has grown are cut.
    generation: AtomicU64,
    stop: AtomicBool,
}

/// A TCP port that leads to another one.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    port: u16,
}

impl Link {
    /// Listens on a port of its own and passes on to `target` on the loopback interface.
    pub fn to(target: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared::default());
        shared.target.store(target, Ordering::Relaxed);
        let accepting = shared.clone();
        std::thread::spawn(move || accept(&listener, &accepting));
        Ok(Link { shared, port })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes a second towards the terminal from now on; `None` for no limit.
    pub fn limit(&self, bytes_per_second: Option<u64>) {
        self.shared
            .limit
            .store(bytes_per_second.unwrap_or(0), Ordering::Relaxed);
    }

    /// Bytes that went towards the terminal so far, TLS included.
    pub fn bytes_down(&self) -> u64 {
        self.shared.down.load(Ordering::Relaxed)
    }

    /// Cuts the connections that are there.
    pub fn cut(&self) {
        self.shared.generation.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.cut();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((terminal, _)) = listener.accept() else {
            std::thread::sleep(TICK);
            continue;
        };
        // A station that is down refuses; so does the line to it.
        let Ok(station) = TcpStream::connect(("127.0.0.1", shared.target.load(Ordering::Relaxed)))
        else {
            continue;
        };
        let generation = shared.generation.load(Ordering::Relaxed);
        for (from, to, counted) in [(&terminal, &station, false), (&station, &terminal, true)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else {
                continue;
            };
            let shared = shared.clone();
            std::thread::spawn(move || {
                pass(&from, &to, counted, generation, &shared);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    }
}

/// Passes bytes on until either side or the line ends.
fn pass(mut from: &TcpStream, mut to: &TcpStream, counted: bool, generation: u64, shared: &Shared) {
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
        // Counted first: whoever has the bytes finds them counted.
        if counted {
            shared.down.fetch_add(length as u64, Ordering::Relaxed);
        }
        if to.write_all(&buffer[..length]).is_err() {
            return;
        }
        if counted {
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
        let link = Link::to(server.local_addr().unwrap().port()).unwrap();
        let mut terminal = TcpStream::connect(("127.0.0.1", link.port())).unwrap();
        let (mut station, _) = server.accept().unwrap();
        terminal.write_all(b"ask").unwrap();
        let mut asked = [0; 3];
        station.read_exact(&mut asked).unwrap();
        station.write_all(&[7; 100_000]).unwrap();
        let mut answer = vec![0; 100_000];
        terminal.read_exact(&mut answer).unwrap();
        assert_eq!((&asked, link.bytes_down()), (b"ask", 100_000));
        link.cut();
        assert_eq!(terminal.read(&mut answer).unwrap_or(0), 0);
    }
}
