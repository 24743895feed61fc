//! Downloads of packages, or of their heads.

use std::sync::Arc;

use anyhow::{Context, Result};
use clap::ValueEnum;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

use crate::fleet::Shared;

/// How much of a package is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Download {
    /// Nothing.
    None,
    /// HEAD alone.
    Head,
    /// All bytes.
    Bytes,
}

/// A download that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Fetched {
    pub job: i64,
    /// `None`: the token was refused.
    pub success: Option<bool>,
}

/// Fetches for the terminals of one connection.
pub struct Fetcher {
    shared: Arc<Shared>,
    done: mpsc::UnboundedSender<(usize, Fetched)>,
}

impl Fetcher {
    pub fn new(shared: &Arc<Shared>, done: mpsc::UnboundedSender<(usize, Fetched)>) -> Self {
        Fetcher {
            shared: Arc::clone(shared),
            done,
        }
    }

    /// Fetches beside what else goes on.
    pub fn fetch(&self, number: usize, job: i64, url: String, token: String) {
        let (shared, done) = (Arc::clone(&self.shared), self.done.clone());
        tokio::spawn(async move {
            let status = fetch(&shared, job, &url, &token).await;
            let success = match status {
                Ok(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => None,
                Ok(status) => Some(status.is_success()),
                Err(_) => Some(false),
            };
            let _ = done.send((number, Fetched { job, success }));
        });
    }
}

async fn fetch(shared: &Shared, job: i64, url: &str, token: &str) -> Result<StatusCode> {
    let _turn = shared.downloads.acquire().await?;
    let rest = url.strip_prefix("https://").context("https")?;
    let path = rest
        .find('/')
        .and_then(|at| rest.get(at..))
        .context("a path")?;
    let method = match shared.download {
        Download::Head => Method::HEAD,
        _ => Method::GET,
    };
    let stream = shared.dialer.open(shared.https_for(job)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("authorization", format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())?;
    let mut answer = sender.send_request(request).await?;
    while let Some(frame) = answer.frame().await {
        frame?;
    }
    Ok(answer.status())
}
