//! Free TCP ports for the programs of tests.
//!
//! A port that the kernel chooses (`bind` to port 0) is free only until the socket is closed: the
//! kernel may give it to the next outgoing connection. So these ports come from below the range for
//! outgoing connections, and each stays reserved until this process ends: by an abstract UNIX
//! socket of its number, which every process of this network namespace sees, whatever its user or
//! root directory.
//!
//! Tests of crates that do not depend on the rig include this file by `#[path]`.

use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;

/// Ports below Linux's range for outgoing connections, which begins at 32768.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// Returns a TCP port of the loopback interface on which nobody listens, reserved until this
/// process ends. An error when every port is in use.
pub fn free_port() -> io::Result<u16> {
    let start = std::process::id() as usize * 64 % PORTS.len();
    for port in PORTS.skip(start).chain(PORTS.take(start)) {
        let name = SocketAddr::from_abstract_name(format!("dau-test-port-{port}"))?;
        let Ok(reservation) = UnixListener::bind_addr(&name) else {
            continue;
        };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            let mut reserved = RESERVED.lock().unwrap_or_else(|e| e.into_inner());
            reserved.push(reservation);
            return Ok(port);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        "every port for tests is in use",
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::TcpStream;

    use super::free_port;

    #[test]
    fn a_port_is_given_once() {
        let ports: Vec<u16> = (0..100).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
    }

    /// What ended a run of CI: a broker's port became that of somebody's outgoing connection.
    #[test]
    fn no_outgoing_connection_takes_a_port() {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let bounds: Vec<u16> = text
            .split_whitespace()
            .map(|b| b.parse().unwrap())
            .collect();
        for _ in 0..100 {
            let port = free_port().unwrap();
            assert!(port < bounds[0] || port > bounds[1], "{port}, {bounds:?}");
            assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        }
    }
}
