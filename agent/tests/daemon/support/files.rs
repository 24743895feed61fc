//! A file service: HTTPS with Range, ETag and bearer tokens, and with faults on demand.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dau_package::make::Pki;
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};

/// What goes wrong with one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The connection ends after so many bytes of body.
    Truncate(usize),
    /// Another status, and a Retry-After.
    Status(u16, Option<u32>),
    /// The whole package, though a range was asked for.
    IgnoreRange,
    /// So many bytes of body, then nothing until the test lets go.
    Stall(usize),
    /// These bytes and no others.
    Raw(Vec<u8>),
    /// These bytes, then what would be answered anyway.
    Before(Vec<u8>),
}

/// A request as it was answered.
#[derive(Debug, Clone)]
pub struct Request {
    pub range: Option<String>,
    /// Bytes of body that were sent.
    pub sent: usize,
}

#[derive(Default)]
struct State {
    /// By path: content and ETag.
    packages: HashMap<String, (Arc<Vec<u8>>, String)>,
    token: Option<String>,
    faults: VecDeque<Fault>,
    requests: Vec<Request>,
    stalled: bool,
}

/// A running file service.
#[derive(Clone)]
pub struct FileService {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl FileService {
    pub fn start(pki: &Pki) -> Self {
        let (certificate, key) = pki.tls_identity("station");
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
        acceptor.set_certificate_chain_file(certificate).unwrap();
        acceptor
            .set_private_key_file(key, SslFiletype::PEM)
            .unwrap();
        let acceptor = acceptor.build();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let service = FileService {
            port: listener.local_addr().unwrap().port(),
            state: Arc::default(),
        };
        let shared = service.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (service, acceptor) = (shared.clone(), acceptor.clone());
                std::thread::spawn(move || {
                    if let Ok(stream) = acceptor.accept(stream) {
                        // A client that goes away is its own affair.
                        let _ = service.serve(stream);
                    }
                });
            }
        });
        service
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Offers a package; its url.
    pub fn offer(&self, name: &str, content: Vec<u8>) -> String {
        self.offer_as(name, content, "\"first\"")
    }

    /// Offers a package under this ETag; its url.
    pub fn offer_as(&self, name: &str, content: Vec<u8>, etag: &str) -> String {
        let etag = etag.to_owned();
        let path = format!("/packages/{name}");
        let mut state = self.state.lock().unwrap();
        state
            .packages
            .insert(path.clone(), (Arc::new(content), etag));
        format!("https://localhost:{}{path}", self.port)
    }

    /// From now on only this token is taken.
    pub fn require(&self, token: &str) {
        self.state.lock().unwrap().token = Some(token.to_owned());
    }

    /// What goes wrong with the next requests, one by one.
    pub fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().faults = faults.into_iter().collect();
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Bytes of body that were sent in all.
    pub fn sent(&self) -> usize {
        self.requests().iter().map(|request| request.sent).sum()
    }

    pub fn is_stalled(&self) -> bool {
        self.state.lock().unwrap().stalled
    }

    pub fn let_go(&self) {
        self.state.lock().unwrap().stalled = false;
    }

    fn serve(&self, mut stream: openssl::ssl::SslStream<TcpStream>) -> std::io::Result<()> {
        let (path, headers) = read_request(&mut stream)?;
        let (package, token, fault) = {
            let mut state = self.state.lock().unwrap();
            let fault = state.faults.pop_front();
            (
                state.packages.get(&path).cloned(),
                state.token.clone(),
                fault,
            )
        };
        let range = headers.get("range").cloned();
        let request = || Request {
            range: range.clone(),
            sent: 0,
        };
        let refuse = |stream: &mut openssl::ssl::SslStream<TcpStream>, status: u16, more: &str| {
            let refused = request();
            self.state.lock().unwrap().requests.push(refused);
            let head = format!(
                "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n{more}Connection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes())
        };
        if let Some(Fault::Status(status, after)) = fault {
            let after = after.map(|after| format!("Retry-After: {after}\r\n"));
            return refuse(&mut stream, status, &after.unwrap_or_default());
        }
        if let Some(Fault::Raw(bytes)) = &fault {
            self.state.lock().unwrap().requests.push(request());
            return stream.write_all(bytes);
        }
        if let Some(Fault::Before(bytes)) = &fault {
            stream.write_all(bytes)?;
        }
        let bearer = token.map(|token| format!("Bearer {token}"));
        if bearer.is_some() && bearer.as_ref() != headers.get("authorization") {
            return refuse(&mut stream, 401, "");
        }
        let Some((content, etag)) = package else {
            return refuse(&mut stream, 404, "");
        };
        let same = headers.get("if-range").is_none_or(|known| *known == etag);
        let from = range
            .as_deref()
            .and_then(|range| {
                range
                    .strip_prefix("bytes=")?
                    .strip_suffix('-')?
                    .parse()
                    .ok()
            })
            .filter(|from| {
                same && *from < content.len() && !matches!(fault, Some(Fault::IgnoreRange))
            });
        let (status, start, line) = match from {
            None => (200, 0, String::new()),
            Some(from) => {
                let (last, all) = (content.len() - 1, content.len());
                (
                    206,
                    from,
                    format!("Content-Range: bytes {from}-{last}/{all}\r\n"),
                )
            }
        };
        let body = &content[start..];
        let head = format!(
            "HTTP/1.1 {status} OK\r\nContent-Length: {}\r\nETag: {etag}\r\n{line}Connection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        let index = {
            let mut state = self.state.lock().unwrap();
            state.requests.push(request());
            state.requests.len() - 1
        };
        let limit = match fault {
            Some(Fault::Truncate(limit) | Fault::Stall(limit)) => limit.min(body.len()),
            _ => body.len(),
        };
        for chunk in body[..limit].chunks(16 << 10) {
            stream.write_all(chunk)?;
            self.state.lock().unwrap().requests[index].sent += chunk.len();
        }
        if let Some(Fault::Stall(_)) = fault {
            self.state.lock().unwrap().stalled = true;
            while self.is_stalled() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        stream.shutdown().map(drop).map_err(std::io::Error::other)
    }
}

fn read_request(stream: &mut impl Read) -> std::io::Result<(String, HashMap<String, String>)> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok((path, headers))
}
