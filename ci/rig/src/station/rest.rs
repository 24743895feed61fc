//! A client of the station's REST interface.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use attohttpc::{Method, ProxySettings, RequestBuilder, Response, StatusCode};
use serde_json::Value;

/// Time limit for a connection or an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
const RETRIES: u32 = 3;

/// The station's address and the client's credentials.
#[derive(Debug)]
pub(super) struct Rest {
    base: String,
    ca: Vec<u8>,
    token: String,
}

impl Rest {
    /// Makes a client of the station at `port` of this machine. `ca`: the PEM certificate that
    /// signed the station's.
    pub fn new(port: u16, ca: Vec<u8>, token: String) -> Self {
        Rest {
            base: format!("https://localhost:{port}/api/v1"),
            ca,
            token,
        }
    }

    /// Returns the bearer token.
    pub fn token(&self) -> &str {
        &self.token
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder> {
        let url = format!("{}/{path}", self.base);
        let request = RequestBuilder::try_new(method, url)?
            .proxy_settings(ProxySettings::builder().build())
            .add_root_certificate(native_tls::Certificate::from_pem(&self.ca)?)
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE)
            .bearer_auth(&self.token);
        Ok(request)
    }

    /// Repeats a request without an answer: on a busy machine a TLS handshake can take too long.
    /// All requests here may be repeated.
    fn ask(&self, send: impl Fn() -> Result<Response>) -> Result<Response> {
        let mut tries = 0;
        loop {
            match send() {
                Ok(response) => return Ok(response),
                Err(error) if tries >= RETRIES => return Err(error),
                Err(_) => tries += 1,
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Tells whether the station serves and is connected to the broker, without retries.
    pub fn healthy(&self) -> Result<bool> {
        let response = self.request(Method::GET, "healthz")?.send();
        let health = response
            .ok()
            .and_then(|response| answer("healthz", response).ok());
        Ok(health.is_some_and(|health| health["broker"] == true))
    }

    /// Gets a resource; `None` if the station answers 404.
    pub fn get(&self, path: &str) -> Result<Option<Value>> {
        let response = self.ask(|| Ok(self.request(Method::GET, path)?.send()?))?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        answer(path, response).map(Some)
    }

    /// Posts JSON.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let response = self.ask(|| Ok(self.request(Method::POST, path)?.json(body)?.send()?))?;
        answer(path, response)
    }

    /// Posts a file.
    pub fn post_file(&self, path: &str, file: &Path) -> Result<Value> {
        let open = || {
            fs::File::open(file)
                .with_context(|| format!("cannot read {}: run make image", file.display()))
        };
        let response =
            self.ask(|| Ok(self.request(Method::POST, path)?.file(open()?).send()?))?;
        answer(path, response)
    }
}

fn answer(path: &str, response: Response) -> Result<Value> {
    let status = response.status();
    let text = response.text()?;
    ensure!(
        status.is_success(),
        "the station answered {path} with {status}: {text}"
    );
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}
