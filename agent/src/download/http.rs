//! Asking the file service for a package, or for the rest of one.

use attohttpc::header::{HeaderMap, HeaderName};
use attohttpc::{ErrorKind, ProxySettings, ResponseReader, Session};

use super::answer::{strong, Seen};
use super::partial::Partial;
use crate::identity::Roots;
use crate::settings::Download;
use crate::work::Source;

/// More headers than any file service sends.
const MAX_HEADERS: usize = 64;

/// A session with the file service.
#[derive(Debug)]
pub struct Http {
    session: Session,
}

/// What came back.
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: ResponseReader,
}

impl Http {
    /// `roots` vouch for the file service. No proxy is taken from the environment, no redirection followed: the token
    /// is for the station alone.
    pub fn new(settings: &Download, roots: &Roots) -> Self {
        let mut session = Session::new();
        session.connect_timeout(settings.connect_timeout);
        session.read_timeout(settings.read_timeout);
        session.follow_redirects(false);
        session.max_headers(MAX_HEADERS);
        session.proxy_settings(ProxySettings::builder().build());
        for root in &roots.0 {
            session.add_root_certificate(root.clone());
        }
        Http { session }
    }

    /// Asks for what is missing of `partial`.
    pub fn get(&self, source: &Source, partial: &Partial) -> attohttpc::Result<Response> {
        let mut request = self
            .session
            .get(&source.url)
            .try_header("Accept-Encoding", "identity")?;
        if let Some(token) = &source.token {
            request = request.try_header("Authorization", format!("Bearer {token}"))?;
        }
        if partial.len > 0 {
            request = request.try_header("Range", format!("bytes={}-", partial.len))?;
            if let Some(etag) = strong(partial.note.etag.as_deref()) {
                request = request.try_header("If-Range", etag)?;
            }
        }
        let (status, headers, body) = request.send()?.split();
        Ok(Response {
            status: status.as_u16(),
            headers,
            body,
        })
    }
}

impl Response {
    pub fn seen(&self) -> Seen<'_> {
        let text = |name: HeaderName| self.headers.get(name).and_then(|value| value.to_str().ok());
        use attohttpc::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, RETRY_AFTER};
        Seen {
            status: self.status,
            content_length: text(CONTENT_LENGTH),
            content_range: text(CONTENT_RANGE),
            etag: text(ETAG),
            retry_after: text(RETRY_AFTER),
        }
    }
}

/// Whether asking again can never help: the url itself is wrong.
pub fn is_hopeless(error: &attohttpc::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidBaseUrl
            | ErrorKind::InvalidUrlHost
            | ErrorKind::InvalidUrlPort
            | ErrorKind::Http(_)
            | ErrorKind::TlsDisabled
    )
}
