//! TLS, sockets and their time limits.

use std::future::{ready, Ready};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum_server::accept::Accept;
use axum_server::tls_openssl::{OpenSSLAcceptor, OpenSSLConfig};
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use openssl::ssl::{AlpnError, SslAcceptor, SslFiletype, SslMethod, SslVersion};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::config::Https;

/// How long a client may take for the head of a request, which is also how long an idle connection stays.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The one protocol: several streams on one connection would pass by the limit of downloads' sockets.
const ALPN: &[u8] = b"\x08http/1.1";

/// Certificate and key of the service.
pub fn tls(https: &Https) -> Result<Arc<SslAcceptor>> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder
        .set_certificate_chain_file(&https.certificate)
        .with_context(|| {
            let shown = https.certificate.display();
            format!("https.certificate: cannot use {shown}")
        })?;
    builder
        .set_private_key_file(&https.key, SslFiletype::PEM)
        .with_context(|| format!("https.key: cannot use {}", https.key.display()))?;
    builder
        .check_private_key()
        .context("https.certificate and https.key do not belong together")?;
    builder.set_alpn_select_callback(|_, offered| {
        openssl::ssl::select_next_proto(ALPN, offered).ok_or(AlpnError::NOACK)
    });
    Ok(Arc::new(builder.build()))
}

/// Serves `router` until `handle` says stop.
pub async fn serve(
    listener: TcpListener,
    tls: OpenSSLConfig,
    router: Router,
    stall: Duration,
    handle: Handle,
) -> io::Result<()> {
    let acceptor = OpenSSLAcceptor::new(tls).acceptor(Tuned { stall });
    let mut server = axum_server::from_tcp(listener)
        .handle(handle)
        .acceptor(acceptor);
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    server.serve(router.into_make_service()).await
}

/// Sets up each connection so that a peer that went away is noticed, whether it owes or is owed bytes.
#[derive(Debug, Clone)]
struct Tuned {
    stall: Duration,
}

impl<S> Accept<TcpStream, S> for Tuned {
    type Stream = TcpStream;
    type Service = S;
    type Future = Ready<io::Result<(TcpStream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let keepalive = TcpKeepalive::new()
            .with_time(self.stall)
            .with_interval(self.stall / 4 + Duration::from_secs(1));
        let socket = SockRef::from(&stream);
        let tuned = socket
            .set_tcp_user_timeout(Some(self.stall))
            .and_then(|()| socket.set_tcp_keepalive(&keepalive))
            .and_then(|()| socket.set_tcp_nodelay(true));
        ready(tuned.map(|()| (stream, service)))
    }
}
