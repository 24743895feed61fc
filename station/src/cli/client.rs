//! Requests to the station's REST interface.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{anyhow, bail, Context, Result};
use dau_protocol::DownloadUrl;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use hyper::http::request;
use hyper::{Method, Request, StatusCode};
use indicatif::ProgressBar;
use openssl::ssl::SslConnector;
use serde::de::DeserializeOwned;
use serde::Serialize;

use super::http::{self, Content, Unreachable};
use super::Access;
use crate::store::packages::Package;
use crate::web::error::Problem;
use crate::web::API;

type Answer = (StatusCode, Vec<u8>);

/// A client of one station.
#[allow(missing_debug_implementations)] // The token shall not be printed.
pub struct Client {
    base: String,
    token: String,
    tls: SslConnector,
}

impl Client {
    /// Reads the files named in `access`.
    pub fn new(access: &Access) -> Result<Self> {
        let token = fs::read_to_string(&access.token_file).with_context(|| {
            format!("--token-file: cannot read {}", access.token_file.display())
        })?;
        if let Some(path) = &access.ca {
            File::open(path).with_context(|| format!("--ca: cannot read {}", path.display()))?;
        }
        let base = access.station.trim_end_matches('/').to_owned() + API;
        DownloadUrl::parse(&base)
            .map_err(|error| anyhow!("--station: '{}' {error}", access.station))?;
        Ok(Client {
            base,
            token: token.trim().to_owned(),
            tls: http::trust(access.ca.as_deref())?,
        })
    }

    /// Sends a GET; parameters that are `None` are left out.
    pub fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<T> {
        let mut encoder = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in query {
            if let Some(value) = value {
                encoder.append_pair(name, value);
            }
        }
        let path = match encoder.finish() {
            none if none.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        read(self.send(request(Method::GET), &path, Content::none())?)
    }

    /// Sends a POST with JSON; with `key`, the station executes repeated requests once.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        content: &impl Serialize,
        key: Option<&str>,
    ) -> Result<T> {
        let mut request = request(Method::POST).header(CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let content = Content::bytes(serde_json::to_vec(content)?);
        read(self.send(request, path, content)?)
    }

    /// Sends a POST with a table of comma-separated values.
    pub fn post_csv<T: DeserializeOwned>(&self, path: &str, table: Vec<u8>) -> Result<T> {
        let request = request(Method::POST).header(CONTENT_TYPE, "text/csv");
        read(self.send(request, path, Content::bytes(table))?)
    }

    /// Sends a PATCH with JSON.
    pub fn patch<T: DeserializeOwned>(&self, path: &str, content: &impl Serialize) -> Result<T> {
        let request = request(Method::PATCH).header(CONTENT_TYPE, "application/json");
        read(self.send(request, path, Content::bytes(serde_json::to_vec(content)?))?)
    }

    /// Sends a PUT with JSON.
    pub fn put_json<T: DeserializeOwned>(&self, path: &str, content: &impl Serialize) -> Result<T> {
        let request = request(Method::PUT).header(CONTENT_TYPE, "application/json");
        read(self.send(request, path, Content::bytes(serde_json::to_vec(content)?))?)
    }

    /// Sends a PUT without content.
    pub fn put(&self, path: &str) -> Result<()> {
        check(self.send(request(Method::PUT), path, Content::none())?).map(drop)
    }

    /// Sends a DELETE.
    pub fn delete(&self, path: &str) -> Result<()> {
        check(self.send(request(Method::DELETE), path, Content::none())?).map(drop)
    }

    /// Sends a GET and writes the content of the answer to `output`, which appears once it is complete.
    pub fn download(&self, path: &str, output: &Path) -> Result<()> {
        let folder = output.parent().filter(|path| !path.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let unwritable = || format!("cannot write {}", output.display());
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(unwritable)?;
        check(self.send_into(request(Method::GET), path, Content::none(), &mut file)?)?;
        file.persist(output).with_context(unwritable)?;
        Ok(())
    }

    /// Uploads a package; `bar` shows the bytes sent.
    pub fn upload(&self, path: &Path, bar: &ProgressBar) -> Result<Package> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let content = Content {
            length: file.metadata()?.len(),
            content: Box::new(bar.wrap_read(file)),
        };
        let request = request(Method::POST).header(CONTENT_TYPE, "application/octet-stream");
        read(self.send(request, "packages", content)?)
    }

    fn send(&self, request: request::Builder, path: &str, content: Content) -> Result<Answer> {
        let mut answer = Vec::new();
        let (status, refusal) = self.send_into(request, path, content, &mut answer)?;
        Ok(match status.is_success() {
            true => (status, answer),
            false => (status, refusal),
        })
    }

    /// Writes the content of a good answer to `output`, and returns that of any other.
    fn send_into(
        &self,
        request: request::Builder,
        path: &str,
        content: Content,
        output: &mut dyn Write,
    ) -> Result<Answer> {
        let text = format!("{}/{path}", self.base);
        let url = DownloadUrl::parse(&text).map_err(|error| anyhow!("'{text}' {error}"))?;
        let request = request
            .uri(url.path_and_query())
            .header(HOST, url.authority())
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONNECTION, "close")
            .body(content)
            .context("--token-file: the token holds what no token has")?;
        http::exchange(&self.tls, &url, request, output)
    }
}

/// Tells whether the station did not answer, so that a retry may help.
pub fn is_unreachable(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Unreachable>().is_some()
}

fn request(method: Method) -> request::Builder {
    Request::builder().method(method)
}

fn read<T: DeserializeOwned>(answer: Answer) -> Result<T> {
    let content = check(answer)?;
    serde_json::from_slice(&content).context("the station's answer cannot be understood")
}

/// Turns the station's refusal into an error.
fn check((status, content): Answer) -> Result<Vec<u8>> {
    if status.is_success() {
        return Ok(content);
    }
    match serde_json::from_slice::<Problem>(&content) {
        Ok(problem) => Err(anyhow!("{} ({})", problem.message, problem.error)),
        Err(_) => bail!("the station answered {status}"),
    }
}
