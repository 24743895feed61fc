//! Asking the file service for a package, or for the rest of one: HTTP/1.1 by hyper, which skips
//! interim answers (1xx) as RFC 9110 says, over TLS by OpenSSL. Each request has a connection of
//! its own.

use std::io::{self, Read};
use std::time::Duration;

use anyhow::Context;
use dau_protocol::DownloadUrl;
use hyper::body::{Body as _, Buf, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    HeaderName, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, IF_RANGE, RANGE, RETRY_AFTER, TRANSFER_ENCODING,
};
use hyper::http::response::Parts;
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::answer::{strong, Seen};
use super::partial::Partial;
use crate::identity::Identity;
use crate::settings::Download;
use crate::traffic::{connect, Traffic, WINDOW};

/// More headers than any file service sends.
const MAX_HEADERS: usize = 64;
/// Bytes that are read ahead, and the longest head of an answer.
const READ_AHEAD: usize = 64 << 10;

/// The file service.
#[derive(Debug)]
pub struct Http<'a> {
    pub settings: &'a Download,
    /// Vouches for the file service: its CA is read anew for each request.
    pub identity: &'a Identity,
    pub traffic: &'a Traffic,
}

/// An answer of the file service.
pub struct Response {
    head: Parts,
    pub body: Body,
}

/// The bytes of an answer as they arrive. Silence for longer than the read timeout is an error.
pub struct Body {
    /// Drives the connection while somebody reads; closes it when dropped.
    runtime: Runtime,
    incoming: Incoming,
    arrived: Bytes,
    silence: Duration,
    /// The other side has ended it.
    ended: bool,
    traffic: Traffic,
}

impl Http<'_> {
    /// Asks for what is missing of `partial`. No proxy is taken from the environment, no
    /// redirection followed: the token is for the station alone. Every error may be gone at the
    /// next try.
    pub fn get(
        &self,
        url: &DownloadUrl,
        token: Option<&str>,
        partial: &Partial,
    ) -> anyhow::Result<Response> {
        let request = request(url, token, partial)?;
        let tls = url.is_https().then(|| self.identity.https());
        let tls = tls.transpose()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let response = runtime.block_on(async {
            let (host, patience) = (url.host_without_brackets(), self.settings.connect_timeout);
            let stream = connect::connect((host, url.port()), patience, self.traffic).await?;
            let silence = self.settings.read_timeout;
            let Some(tls) = tls else {
                return exchange(stream, request, silence).await;
            };
            let stream = connect::tls(tls, host, stream, patience).await?;
            exchange(stream, request, silence).await
        })?;
        let (head, incoming) = response.into_parts();
        Ok(Response {
            head,
            body: Body {
                runtime,
                incoming,
                arrived: Bytes::new(),
                silence: self.settings.read_timeout,
                ended: false,
                traffic: self.traffic.clone(),
            },
        })
    }
}

fn request(
    url: &DownloadUrl,
    token: Option<&str>,
    partial: &Partial,
) -> anyhow::Result<Request<String>> {
    let mut request = Request::get(url.path_and_query())
        .header(HOST, url.authority())
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    if partial.len > 0 {
        request = request.header(RANGE, format!("bytes={}-", partial.len));
        if let Some(etag) = strong(partial.note.etag.as_deref()) {
            request = request.header(IF_RANGE, etag);
        }
    }
    Ok(request.body(String::new())?)
}

/// One request on a new connection. The whole head of the answer, interim answers before it
/// included, must be there within `patience`: a flood of them has an end.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<String>,
    patience: Duration,
) -> anyhow::Result<hyper::Response<Incoming>> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(READ_AHEAD).max_headers(MAX_HEADERS);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // Its errors are told to whoever waits for head or body.
    drop(tokio::spawn(connection));
    let response = timeout(patience, sender.send_request(request)).await;
    response
        .context("no answer in time")?
        .context("no answer that HTTP knows")
}

impl Response {
    pub fn seen(&self) -> Seen<'_> {
        let headers = &self.head.headers;
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        Seen {
            status: self.head.status.as_u16(),
            content_length: text(CONTENT_LENGTH),
            content_range: text(CONTENT_RANGE),
            content_type: text(CONTENT_TYPE),
            content_encoding: text(CONTENT_ENCODING),
            transfer_encoding: text(TRANSFER_ENCODING),
            etag: text(ETAG),
            retry_after: text(RETRY_AFTER),
        }
    }
}

impl Body {
    /// Returns the next bytes; `None` at the end.
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let (incoming, silence) = (&mut self.incoming, self.silence);
        let frame = self.runtime.block_on(async {
            let frame = std::future::poll_fn(|context| {
                std::pin::Pin::new(&mut *incoming).poll_frame(context)
            });
            timeout(silence, frame).await
        });
        self.ended = !matches!(frame, Err(_) | Ok(Some(Ok(_))));
        match frame {
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
            Ok(None) => Ok(None),
            Ok(Some(Err(error))) => Err(io::Error::other(error)),
            // Trailers say nothing of interest.
            Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
        }
    }
}

/// The other side goes on sending until it hears that nobody listens any more.
impl Drop for Body {
    fn drop(&mut self) {
        if !self.ended && self.traffic.is_limited() {
            let rest = self.incoming.size_hint().upper().unwrap_or(WINDOW);
            self.traffic.count(rest.min(WINDOW));
        }
    }
}

impl Read for Body {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        while self.arrived.is_empty() {
            match self.next()? {
                Some(bytes) => self.arrived = bytes,
                None => return Ok(0),
            }
        }
        let count = self.arrived.as_ref().read(room)?;
        self.arrived.advance(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
