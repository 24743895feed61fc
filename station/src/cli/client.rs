//! Requests to the station's REST interface.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{anyhow, bail, Context, Result};
use attohttpc::body::{Body, BodyKind};
use attohttpc::header::CONTENT_TYPE;
use attohttpc::{Method, RequestBuilder, Response};
use indicatif::ProgressBar;
use native_tls::Certificate;
use serde::de::DeserializeOwned;
use serde::Serialize;

use super::Access;
use crate::store::packages::Package;
use crate::web::error::Problem;
use crate::web::API;

const CONNECT: Duration = Duration::from_secs(10);
/// The station verifies a package before it answers the upload.
const ANSWER: Duration = Duration::from_secs(600);
const CHUNK: usize = 256 << 10;

/// A client of one station.
#[allow(missing_debug_implementations)] // native_tls::Certificate has none, and the token shall not be printed.
pub struct Client {
    base: String,
    token: String,
    ca: Vec<Certificate>,
}

impl Client {
    /// Reads what `access` names.
    pub fn new(access: &Access) -> Result<Self> {
        let token = fs::read_to_string(&access.token_file).with_context(|| {
            format!("--token-file: cannot read {}", access.token_file.display())
        })?;
        let ca = match &access.ca {
            None => Vec::new(),
            Some(path) => {
                let pem = fs::read(path)
                    .with_context(|| format!("--ca: cannot read {}", path.display()))?;
                Certificate::stack_from_pem(&pem)
                    .with_context(|| format!("--ca: {} holds no certificate", path.display()))?
            }
        };
        Ok(Client {
            base: access.station.trim_end_matches('/').to_owned() + API,
            token: token.trim().to_owned(),
            ca,
        })
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder> {
        let url = format!("{}/{path}", self.base);
        let mut request = RequestBuilder::try_new(method, &url)
            .with_context(|| format!("--station: '{url}' is no URL"))?
            .bearer_auth(&self.token)
            .follow_redirects(false)
            .connect_timeout(CONNECT)
            .read_timeout(ANSWER);
        for ca in &self.ca {
            request = request.add_root_certificate(ca.clone());
        }
        Ok(request)
    }

    /// GET; parameters that are `None` are left out.
    pub fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<T> {
        let query = query
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_ref()?)));
        let request = self.request(Method::GET, path)?.params(query);
        read(self.sent(request.send())?)
    }

    /// POST with JSON.
    pub fn post<T: DeserializeOwned>(&self, path: &str, content: &impl Serialize) -> Result<T> {
        let request = self
            .request(Method::POST, path)?
            .header(CONTENT_TYPE, "application/json")
            .bytes(serde_json::to_vec(content)?);
        read(self.sent(request.send())?)
    }

    /// PUT without content.
    pub fn put(&self, path: &str) -> Result<()> {
        let request = self.request(Method::PUT, path)?;
        check(self.sent(request.send())?).map(drop)
    }

    /// DELETE
    pub fn delete(&self, path: &str) -> Result<()> {
        let request = self.request(Method::DELETE, path)?;
        check(self.sent(request.send())?).map(drop)
    }

    /// Uploads a package; `bar` counts its bytes.
    pub fn upload(&self, path: &Path, bar: &ProgressBar) -> Result<Package> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let body = Upload {
            size: file.metadata()?.len(),
            file,
            bar: bar.clone(),
        };
        let request = self.request(Method::POST, "packages")?.body(body);
        read(self.sent(request.send())?)
    }

    fn sent(&self, response: attohttpc::Result<Response>) -> Result<Response> {
        response.with_context(|| format!("no answer from {}", self.base))
    }
}

fn read<T: DeserializeOwned>(response: Response) -> Result<T> {
    let text = check(response)?.text()?;
    serde_json::from_str(&text).context("the station's answer cannot be understood")
}

/// The station's refusal as an error.
fn check(response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().unwrap_or_default();
    match serde_json::from_str::<Problem>(&text) {
        Ok(problem) => Err(anyhow!("{} ({})", problem.message, problem.error)),
        Err(_) => bail!("the station answered {status}"),
    }
}

/// A file as body, which moves a progress bar.
struct Upload {
    file: File,
    size: u64,
    bar: ProgressBar,
}

impl Body for Upload {
    fn kind(&mut self) -> io::Result<BodyKind> {
        Ok(BodyKind::KnownLength(self.size))
    }

    fn write<W: Write>(&mut self, mut writer: W) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match self.file.read(&mut chunk)? {
                0 => return Ok(()),
                count => {
                    writer.write_all(&chunk[..count])?;
                    self.bar.inc(count as u64);
                }
            }
        }
    }

    fn content_type(&mut self) -> io::Result<Option<String>> {
        Ok(Some("application/octet-stream".to_owned()))
    }
}
