//! Closes connections whose peers make no progress; slow peers may go on.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::{stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep_until, timeout, Instant, Sleep};

/// Bytes that a peer must move within the stall time. Fewer bytes count as a stall.
const FLOOR: usize = 4 << 10;

/// The time spent waiting for a peer since it last moved [`FLOOR`] bytes. Only waiting for the peer
/// counts.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    waited: Duration,
    moved: usize,
}

impl Pace {
    fn moved(&mut self, bytes: usize, waited: Duration) {
        self.waited = self.waited.saturating_add(waited);
        self.moved = self.moved.saturating_add(bytes);
        if self.moved >= FLOOR {
            *self = Pace::default();
        }
    }
}

fn stalled() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "the other side stood still for too long",
    )
}

/// Returns a request body that fails if its sender makes no progress for `stall`.
pub fn body(body: Body, stall: Duration) -> Body {
    let state = (body.into_data_stream(), Pace::default());
    let paced = stream::try_unfold(state, move |(mut data, mut pace)| async move {
        let begun = Instant::now();
        let left = stall.saturating_sub(pace.waited);
        let chunk: Option<Bytes> = match timeout(left, data.next()).await {
            Err(_) => return Err(axum::Error::new(stalled())),
            Ok(chunk) => chunk.transpose()?,
        };
        Ok(chunk.map(|chunk| {
            pace.moved(chunk.len(), begun.elapsed());
            (chunk, (data, pace))
        }))
    });
    Body::from_stream(paced)
}

/// A stream whose writes fail if the peer accepts nothing for `stall`. Readers must limit reads
/// themselves.
#[derive(Debug)]
pub struct Paced<S> {
    inner: S,
    stall: Duration,
    pace: Pace,
    /// Start and deadline of a waiting write.
    blocked: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> Paced<S> {
    /// Wraps `inner`.
    pub fn new(inner: S, stall: Duration) -> Self {
        Paced {
            inner,
            stall,
            pace: Pace::default(),
            blocked: None,
        }
    }

    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(done) = &outcome {
            let blocked = self.blocked.take();
            let waited = blocked.map_or(Duration::ZERO, |(since, _)| since.elapsed());
            self.pace.moved(*done.as_ref().unwrap_or(&0), waited);
            return outcome;
        }
        let left = self.stall.saturating_sub(self.pace.waited);
        let (_, end) = self.blocked.get_or_insert_with(|| {
            let now = Instant::now();
            let end = now.checked_add(left).unwrap_or(now);
            (now, Box::pin(sleep_until(end)))
        });
        match end.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(stalled())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buffer);
        self.watch(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{duplex, AsyncReadExt, AsyncWriteExt};

    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    fn chunks(count: usize, size: usize, pause: Duration) -> Body {
        Body::from_stream(stream::unfold(count, move |left| async move {
            tokio::time::sleep(pause).await;
            (left > 0).then(|| (Ok::<_, io::Error>(vec![0; size]), left.saturating_sub(1)))
        }))
    }

    async fn received(sent: Body) -> Result<usize, axum::Error> {
        let mut data = body(sent, STALL).into_data_stream();
        let mut size = 0;
        while let Some(chunk) = data.next().await {
            size += chunk?.len();
        }
        Ok(size)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_upload_goes_on_and_a_trickle_does_not() {
        let slow = chunks(500, FLOOR, STALL - Duration::from_secs(1));
        assert_eq!(received(slow).await.unwrap(), 500 * FLOOR);
        let trickle = chunks(500, 1, Duration::from_secs(1));
        assert!(received(trickle).await.is_err());
        assert!(received(chunks(1, 1, STALL * 2)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_read_ends() {
        let (mut reader, writer) = duplex(1000);
        let mut paced = Paced::new(writer, STALL);
        paced.write_all(&[0; 1000]).await.unwrap();
        // A byte now and then is no progress.
        let trickle = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if reader.read_u8().await.is_err() {
                    return;
                }
            }
        });
        let error = paced.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(paced);
        trickle.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_read_slowly_goes_on() {
        let (mut reader, writer) = duplex(1000);
        let slow = tokio::spawn(async move {
            let mut read = 0;
            let mut buffer = [0; 1000];
            while let Ok(count @ 1..) = reader.read(&mut buffer).await {
                read += count;
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            read
        });
        let mut paced = Paced::new(writer, STALL);
        paced.write_all(&[0; 50_000]).await.unwrap();
        drop(paced);
        assert_eq!(slow.await.unwrap(), 50_000);
    }
}
