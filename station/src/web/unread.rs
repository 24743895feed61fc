//! Reads on after a request was refused before its body ended: a client that is still sending sees
//! its connection break otherwise, and not the reason.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{header, HeaderMap};
use futures_util::{Stream, StreamExt};

/// How long the rest of a body is read: 600 MB at 10 MB/s.
const LONGEST: Duration = Duration::from_secs(60);

/// What a handler left of a request's body.
#[derive(Debug, Clone, Default)]
pub struct Rest(Arc<Mutex<Option<BodyDataStream>>>);

/// A body on loan to a handler; what it did not read goes back.
struct Lent {
    body: Option<BodyDataStream>,
    /// Whether the client sends unasked, or was asked by the first read.
    coming: bool,
    rest: Rest,
}

/// Returns the body for the handler, and what it will leave of it.
pub fn lend(headers: &HeaderMap, body: Body) -> (Body, Rest) {
    let rest = Rest::default();
    let lent = Lent {
        body: Some(body.into_data_stream()),
        // Such a client sends nothing before it is asked (RFC 9110, section 10.1.1).
        coming: !headers.contains_key(header::EXPECT),
        rest: rest.clone(),
    };
    (Body::from_stream(lent), rest)
}

impl Rest {
    /// Reads what was left, for a while, and drops it.
    pub async fn discard(self) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut body) = left {
            let rest = async { while let Some(Ok(_)) = body.next().await {} };
            let _ = tokio::time::timeout(LONGEST, rest).await;
        }
    }
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.coming = true;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let next = body.poll_next_unpin(cx);
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        next
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let left = self.body.take().filter(|_| self.coming);
        *self.rest.0.lock().unwrap_or_else(PoisonError::into_inner) = left;
    }
}
