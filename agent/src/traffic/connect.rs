//! Making a connection that is counted.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::Context;
use native_tls::TlsConnector;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_native_tls::TlsStream;

use super::{Counted, Traffic, WINDOW};

/// Connects to a host, a name or an address without brackets, trying its addresses one after the
/// other.
pub async fn connect(
    (host, port): (&str, u16),
    patience: Duration,
    traffic: &Traffic,
) -> anyhow::Result<Counted<TcpStream>> {
    // A look-up waits on this thread, which has nothing else to do.
    let addresses = (host, port).to_socket_addrs();
    let mut failure = io::Error::other("the name has no address");
    for address in addresses.with_context(|| format!("cannot look up {host}"))? {
        let connected = timeout(patience, open(address, traffic.is_limited())).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                let traffic = traffic.clone();
                return Ok(Counted { stream, traffic });
            }
            Err(error) => failure = error,
        }
    }
    Err(failure).with_context(|| format!("cannot connect to {host} port {port}"))
}

async fn open(address: SocketAddr, limited: bool) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if limited {
        // The kernel doubles it (socket(7)).
        socket.set_recv_buffer_size(u32::try_from(WINDOW / 2).unwrap_or(u32::MAX))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Begins TLS on a connection.
pub async fn tls(
    connector: TlsConnector,
    host: &str,
    stream: Counted<TcpStream>,
    patience: Duration,
) -> anyhow::Result<TlsStream<Counted<TcpStream>>> {
    let connector = tokio_native_tls::TlsConnector::from(connector);
    let handshake = timeout(patience, connector.connect(host, stream)).await;
    Ok(handshake.context("no TLS handshake in time")??)
}
