//! A client of the station's REST interface that keeps its connection.

use anyhow::{ensure, Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{handshake, SendRequest};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::wire::Dialer;

/// A client.
pub struct Rest {
    dialer: Dialer,
    port: u16,
    token: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Rest {
    pub fn new(dialer: &Dialer, port: u16, token: &str) -> Self {
        Rest {
            dialer: dialer.clone(),
            port,
            token: token.to_owned(),
            sender: None,
        }
    }

    /// Connects, unless there is a connection.
    pub async fn connect(&mut self) -> Result<()> {
        if self.sender.as_ref().is_none_or(SendRequest::is_closed) {
            let stream = self.dialer.open(self.port).await?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            self.sender = Some(sender);
        }
        Ok(())
    }

    /// Sends a request and returns status and answer.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes)> {
        self.connect().await?;
        let sender = self.sender.as_mut().context("a connection")?;
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/{path}"))
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.token))
            .body(Full::from(body.map(Value::to_string).unwrap_or_default()))?;
        let answer = async {
            sender.ready().await?;
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            anyhow::Ok((status, answer.into_body().collect().await?.to_bytes()))
        };
        let answer = answer.await;
        if answer.is_err() {
            self.sender = None;
        }
        answer
    }

    /// Gets a resource.
    pub async fn get(&mut self, path: &str) -> Result<Value> {
        let (status, answer) = self.call(Method::GET, path, None).await?;
        let text = String::from_utf8_lossy(&answer);
        ensure!(status.is_success(), "GET {path}: {status}: {text}");
        Ok(serde_json::from_slice(&answer)?)
    }
}
