//! Clients that connect and then do little or nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use attohttpc::Method;
use native_tls::{Certificate, TlsConnector, TlsStream};
use openssl::ssl::{SslConnector, SslMethod};
use serde_json::json;

use crate::site::{wait_for, Site, PATIENCE};

impl Site {
    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.https_port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn try_tls(&self) -> Option<TlsStream<TcpStream>> {
        let ca = fs::read(self.pki.tls_ca()).unwrap();
        let mut connector = TlsConnector::builder();
        connector.add_root_certificate(Certificate::from_pem(&ca).unwrap());
        let connector = connector.build().unwrap();
        connector.connect("localhost", self.tcp()).ok()
    }

    fn tls(&self) -> TlsStream<TcpStream> {
        self.try_tls().unwrap()
    }

    fn says(&self, text: &str) -> TlsStream<TcpStream> {
        let mut stream = self.tls();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }
}

/// Reads to the end, which comes only if the station closes the connection.
fn is_closed(mut stream: impl Read) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
}

#[test]
fn attack_silent_clients_are_closed() {
    let site = Site::start_with("[downloads]\nstall_seconds = 1");
    let token = &site.token;
    let upload = format!(
        "POST /api/v1/packages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-length: 1000000\r\n\r\nbegun"
    );
    let order = format!(
        "POST /api/v1/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    assert!(is_closed(site.tcp()), "before the handshake");
    let cases = [
        ("after the handshake", ""),
        ("one byte", "P"),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("half a head", "GET /api/v1/livez HTTP/1.1\r\nhost: x\r\n"),
        (
            "idle after an answer",
            "GET /api/v1/livez HTTP/1.1\r\nhost: x\r\n\r\n",
        ),
        ("in an upload", &upload),
        ("in an order", &order),
    ];
    for (when, text) in cases {
        assert!(is_closed(site.says(text)), "{when}");
    }
    let left = fs::read_dir(site.path("station/data/incoming"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "of the upload that stopped");
}

#[test]
fn attack_a_trickle_is_closed() {
    let site = Site::start_with("[downloads]\nstall_seconds = 1");
    let mut stream = site.says(&format!(
        "POST /api/v1/packages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-length: 1000000\r\n\r\n",
        site.token
    ));
    let begun = Instant::now();
    while stream.write_all(b"x").is_ok() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn attack_a_client_that_does_not_read_is_closed() {
    let site = Site::start_with("[downloads]\nstall_seconds = 1\nconcurrent = 1");
    let mut terminals = ["t1", "t2"].map(|id| site.terminal(id));
    let package = site.upload(&site.package_file("1.1.0", 30_000_000)).1["id"].clone();
    let order = json!({"terminals": ["t1", "t2"], "package": package});
    assert_eq!(site.post("orders", order).0, 202);
    let [first, second] = [0, 1].map(|index: usize| terminals[index].take_order().file);
    let path = first
        .url
        .split_once(&site.https_port.to_string())
        .unwrap()
        .1;
    let _not_read = site.says(&format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        first.token.unwrap()
    ));
    wait_for("the other terminal's turn", || {
        let request = site.request(Method::GET, &second.url);
        let answer = request.bearer_auth(second.token.as_ref().unwrap()).send();
        answer.ok().filter(|answer| answer.is_success()).map(drop)
    });
}

#[test]
fn attack_silent_connections_lock_nobody_out() {
    let mut site = Site::start();
    site.kill_station();
    // Fewer files than the attacker has connections.
    site.start_station_in("ulimit -n 120; exec \"$@\"");
    let _silent: Vec<_> = (0..100).map(|_| site.tcp()).collect();
    let _greeted: Vec<_> = (0..100).map(|_| site.try_tls()).collect();
    for _ in 0..20 {
        assert_eq!(site.rest(Method::GET, "terminals", None).0, 200);
    }
}

#[test]
fn only_http_1_is_offered() {
    let site = Site::start();
    let mut connector = SslConnector::builder(SslMethod::tls()).unwrap();
    connector.set_ca_file(site.pki.tls_ca()).unwrap();
    connector.set_alpn_protos(b"\x02h2\x08http/1.1").unwrap();
    let stream = connector.build().connect("localhost", site.tcp()).unwrap();
    let chosen = stream.ssl().selected_alpn_protocol();
    assert_eq!(chosen, Some(&b"http/1.1"[..]));
    let mut stream = site.says("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
        "{answer}"
    );
}

/// Sends a whole request, and only then reads the answer; returns its status.
fn answer_after_all(site: &Site, head: &str, length: usize) -> String {
    let mut stream = site.says(&format!("{head}\r\ncontent-length: {length}\r\n\r\n"));
    for _ in 0..length / 1000 {
        stream.write_all(&[b' '; 1000]).unwrap();
    }
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    String::from_utf8_lossy(&status).into_owned()
}

#[test]
fn a_client_that_sends_all_before_it_reads_learns_why_it_is_refused() {
    let site = Site::start_with("max_package_bytes = 50000");
    let token = format!("authorization: Bearer {}", site.token);
    let json = "content-type: application/json";
    // More than the buffers of both sides hold.
    let length = 20_000_000;
    for (status, head) in [
        (401, "POST /api/v1/packages HTTP/1.1\r\nhost: x".to_owned()),
        (
            401,
            "POST /api/v1/packages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer no".to_owned(),
        ),
        (404, format!("POST /nowhere HTTP/1.1\r\nhost: x\r\n{token}")),
        (
            405,
            format!("PATCH /api/v1/packages HTTP/1.1\r\nhost: x\r\n{token}"),
        ),
        (
            413,
            format!("POST /api/v1/packages HTTP/1.1\r\nhost: x\r\n{token}"),
        ),
        (
            413,
            format!("POST /api/v1/orders HTTP/1.1\r\nhost: x\r\n{token}\r\n{json}"),
        ),
        (
            400,
            format!("POST /api/v1/jobs/x/cancel HTTP/1.1\r\nhost: x\r\n{token}\r\n{json}"),
        ),
    ] {
        let answer = answer_after_all(&site, &head, length);
        assert_eq!(answer, format!("HTTP/1.1 {status}"), "{head}");
    }
}

#[test]
fn a_client_that_asks_first_is_refused_before_it_sends() {
    let site = Site::start();
    let mut stream = site.says(
        "POST /api/v1/packages HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\
         expect: 100-continue\r\n\r\n",
    );
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 401");
    assert!(is_closed(stream));
}
