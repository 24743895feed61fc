//! One request to the station and its answer: HTTP/1.1 by hyper, over TLS by OpenSSL. Each request
//! has its own connection. No proxy is taken from the environment, no redirection followed.

use std::io::{self, Read, Write};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use anyhow::{Context, Result};
use dau_protocol::DownloadUrl;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use openssl::ssl::{SslConnector, SslMethod};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;
use tokio_openssl::SslStream;

const CONNECT: Duration = Duration::from_secs(10);
/// Time limit of an answer; the station verifies an uploaded package before it answers.
const ANSWER: Duration = Duration::from_secs(600);
/// Largest accepted refusal in bytes.
const MAX_REFUSAL: usize = 1 << 20;
/// Bytes of content read at a time.
const CHUNK: usize = 256 << 10;

/// The station did not answer, so that a retry may help.
#[derive(Debug, thiserror::Error)]
#[error("no answer from {station}: {reason:#}")]
pub struct Unreachable {
    station: String,
    reason: anyhow::Error,
}

/// The body of a request: `length` bytes of `content`.
pub struct Content {
    pub length: u64,
    pub content: Box<dyn Read + Send + Unpin>,
}

impl Content {
    /// Returns an empty body.
    pub fn none() -> Self {
        Self::bytes(Vec::new())
    }

    /// Returns a body of these bytes.
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Content {
            length: bytes.len() as u64,
            content: Box::new(io::Cursor::new(bytes)),
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Task<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut chunk = Vec::new();
        let part = (&mut self.content).take(CHUNK as u64);
        Poll::Ready(match { part }.read_to_end(&mut chunk) {
            Ok(0) => None,
            Ok(_) => Some(Ok(Frame::data(chunk.into()))),
            Err(error) => Some(Err(error)),
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

/// Returns a connector that trusts `ca`; `None`: the system's certificates.
pub fn trust(ca: Option<&Path>) -> Result<SslConnector> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    if let Some(path) = ca {
        builder
            .set_ca_file(path)
            .with_context(|| format!("--ca: {} holds no certificate", path.display()))?;
    }
    Ok(builder.build())
}

/// Sends `request` to the host of `url`; writes the content of a good answer to `output`, and returns
/// the status, and the content of any other.
///
/// # Errors
/// [`Unreachable`] if no complete answer arrived.
pub fn exchange(
    tls: &SslConnector,
    url: &DownloadUrl,
    request: Request<Content>,
    output: &mut dyn Write,
) -> Result<(StatusCode, Vec<u8>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let stream = timeout(CONNECT, connect(tls, url)).await;
        let stream = stream.context("no connection in time")??;
        let answer = timeout(ANSWER, exchange_on(stream, request, output)).await;
        answer.context("nothing came in time")?
    });
    answer.map_err(|reason| {
        let station = url.authority().to_owned();
        Unreachable { station, reason }.into()
    })
}

async fn connect(tls: &SslConnector, url: &DownloadUrl) -> Result<SslStream<TcpStream>> {
    let host = url.host_without_brackets();
    let stream = TcpStream::connect((host, url.port())).await?;
    let ssl = tls.configure()?.into_ssl(host)?;
    let mut stream = SslStream::new(ssl, stream)?;
    Pin::new(&mut stream).connect().await?;
    Ok(stream)
}

async fn exchange_on(
    stream: SslStream<TcpStream>,
    request: Request<Content>,
    output: &mut dyn Write,
) -> Result<(StatusCode, Vec<u8>)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let mut incoming = response.into_body();
    let mut refusal = Vec::new();
    while let Some(frame) = next(&mut incoming).await {
        match frame?.into_data() {
            Ok(data) if status.is_success() => output.write_all(&data)?,
            Ok(data) => {
                refusal.extend_from_slice(&data);
                anyhow::ensure!(refusal.len() <= MAX_REFUSAL, "the answer is too long");
            }
            Err(_) => {}
        }
    }
    Ok((status, refusal))
}

async fn next<B: Body + Unpin>(body: &mut B) -> Option<Result<Frame<B::Data>, B::Error>> {
    std::future::poll_fn(|task| Pin::new(&mut *body).poll_frame(task)).await
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use dau_package::make::{Pki, PkiOptions};
    use openssl::ssl::{SslAcceptor, SslFiletype};

    use super::*;

    /// Answers one request on `[::1]` with the certificate of `name`; returns the client's result.
    fn asked_by_ipv6(name: &str) -> Result<(StatusCode, Vec<u8>)> {
        let mut content = Vec::new();
        let dir = tempfile::tempdir().unwrap();
        let options = PkiOptions {
            station_names: vec![name.to_owned()],
            ..PkiOptions::default()
        };
        let pki = Pki::create(&dir.path().join("pki"), &options).unwrap();
        let (certificate, key) = pki.tls_identity("station");
        let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
        acceptor.set_certificate_chain_file(certificate).unwrap();
        acceptor
            .set_private_key_file(key, SslFiletype::PEM)
            .unwrap();
        let acceptor = acceptor.build();
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            if let Ok(mut stream) = acceptor.accept(stream) {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(
                    b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
                );
            }
        });
        let url = DownloadUrl::parse(&format!("https://[::1]:{port}/x")).unwrap();
        let request = Request::get(url.path_and_query()).body(Content::none())?;
        let answer = exchange(&trust(Some(&pki.tls_ca()))?, &url, request, &mut content);
        server.join().unwrap();
        Ok((answer?.0, content))
    }

    #[test]
    fn a_station_is_reached_by_its_ipv6_address() {
        let (status, answer) = asked_by_ipv6("::1").unwrap();
        assert_eq!((status, answer.as_slice()), (StatusCode::OK, &b"hi"[..]));
    }

    #[test]
    fn attack_by_a_certificate_for_another_address_is_refused() {
        let error = asked_by_ipv6("::2").unwrap_err();
        assert!(format!("{error:#}").contains("certificate"), "{error:#}");
        assert!(error.is::<Unreachable>());
    }
}
