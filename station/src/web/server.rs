//! TLS, sockets and their time limits.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::Body;
use axum::http::Request;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{service_fn, Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use log::{debug, warn};
use openssl::ssl::{AlpnError, Ssl, SslAcceptor, SslFiletype, SslMethod, SslVersion};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{timeout, Instant};
use tokio_openssl::SslStream;

use super::connections::{Connection, Connections};
use super::pace::{self, Paced};
use super::unread;
use crate::config::Https;

/// Largest request head in bytes.
const HEAD_BYTES: usize = 64 << 10;
/// Time limit for requests in progress at a stop; terminals resume their downloads.
const GRACE: Duration = Duration::from_secs(5);
/// Wait after a failed accept for lack of file descriptors, to avoid a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Least time between two log lines about that.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);
/// Most unsent bytes in a socket's queue: few, so that a slow reader's progress is visible.
const UNSENT: u32 = 16 << 10;
/// The only protocol: several streams on one connection would evade the download limits.
const ALPN: &[u8] = b"\x08http/1.1";

/// The service's TLS acceptor.
#[derive(Clone)]
#[allow(missing_debug_implementations)] // SslAcceptor has none.
pub struct Tls(Arc<RwLock<SslAcceptor>>);

impl Tls {
    /// Reads certificate and key.
    pub fn load(https: &Https) -> Result<Self> {
        Ok(Tls(Arc::new(RwLock::new(acceptor(https)?))))
    }

    /// Reads certificate and key again, for new connections.
    pub fn reload(&self, https: &Https) -> Result<()> {
        let new = acceptor(https)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn new_session(&self) -> Result<Ssl, openssl::error::ErrorStack> {
        Ssl::new(
            self.0
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .context(),
        )
    }
}

fn acceptor(https: &Https) -> Result<SslAcceptor> {
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
    Ok(builder.build())
}

/// Shared state of all connections.
#[derive(Clone)]
struct Serving {
    tls: Tls,
    router: Router,
    stall: Duration,
}

/// Serves `router` until `stop` completes. Peers without progress for `stall` are disconnected;
/// this is also the time limit for the TLS handshake, a request's head and an idle connection.
pub async fn serve(
    listener: std::net::TcpListener,
    tls: Tls,
    router: Router,
    connections: Connections,
    stall: Duration,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let serving = Serving { tls, router, stall };
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    let mut complained: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connections.add(peer.ip());
                let (serving, watcher) = (serving.clone(), graceful.watcher());
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection.closed() => debug!("{peer}: closed to make room"),
                        done = serving.connection(stream, &connection, watcher) => {
                            if let Err(error) = done {
                                debug!("{peer}: {error}");
                            }
                        }
                    }
                });
            }
            Err(error) => {
                if complained.is_none_or(|last| last.elapsed() > COMPLAINT_PAUSE) {
                    warn!("connections cannot be accepted: {error}");
                    complained = Some(Instant::now());
                }
                connections.make_room();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let _ = timeout(GRACE, graceful.shutdown()).await;
    Ok(())
}

impl Serving {
    async fn connection(
        &self,
        stream: TcpStream,
        connection: &Arc<Connection>,
        watcher: Watcher,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        tune(&stream, self.stall)?;
        let mut stream = SslStream::new(self.tls.new_session()?, Paced::new(stream, self.stall))?;
        timeout(self.stall, Pin::new(&mut stream).accept()).await??;
        let router = TowerToHyperService::new(self.router.clone());
        let (connection, stall) = (Arc::clone(connection), self.stall);
        let service = service_fn(move |request: Request<Incoming>| {
            let (head, body) = request.into_parts();
            let body = pace::body(Body::new(body), stall);
            let (body, rest) = unread::lend(&head.headers, body);
            let mut request = Request::from_parts(head, body);
            request.extensions_mut().insert(Arc::clone(&connection));
            let answer = router.call(request);
            async move {
                let answer = answer.await;
                rest.discard().await;
                answer
            }
        });
        // HTTP/1 only, without detection by the first bytes, which would wait for them without a
        // limit.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(stall)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        Ok(watcher.watch(connection).await?)
    }
}

/// Configures a socket so that a vanished peer is noticed.
fn tune(stream: &TcpStream, stall: Duration) -> io::Result<()> {
    let interval = stall.checked_div(4).unwrap_or(stall);
    let keepalive = TcpKeepalive::new()
        .with_time(stall)
        .with_interval(interval.saturating_add(Duration::from_secs(1)));
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(stall))?;
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_tcp_nodelay(true)
}
