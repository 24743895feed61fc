//! Requests to file services that answer word for word as the test says.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;

use dau_package::make::{Pki, PkiOptions};
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};
use tempfile::TempDir;

use super::*;
use crate::settings::Range;

const BODY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: \"a\"\r\n\r\nbody";

fn pki(dir: &Path, name: &str) -> Pki {
    let options = PkiOptions {
        station_names: vec![name.to_owned()],
        ..PkiOptions::default()
    };
    Pki::create(dir, &options).unwrap()
}

/// Answers one connection after the other; its port. An answer is written again and again where it
/// is to be `endless`.
fn serve(host: &str, pki: &Pki, answers: Vec<Vec<u8>>, endless: bool) -> u16 {
    let (certificate, key) = pki.tls_identity("station");
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_certificate_chain_file(certificate).unwrap();
    acceptor
        .set_private_key_file(key, SslFiletype::PEM)
        .unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind((host, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            // A client that does not like the certificate is its own affair.
            let Ok(mut stream) = acceptor.accept(stream) else {
                continue;
            };
            let lines = BufReader::new(&mut stream).lines().map_while(Result::ok);
            for _ in lines.take_while(|line| !line.is_empty()) {}
            while stream.write_all(&answer).is_ok() && endless {}
            let _ = stream.shutdown();
        }
    });
    port
}

struct Client {
    identity: Identity,
    settings: Download,
    traffic: Traffic,
    partial: Partial,
    dir: TempDir,
}

impl Client {
    fn new(pki: &Pki) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("terminal-id"), "T-1").unwrap();
        let second = Duration::from_secs(1);
        let client = Client {
            identity: Identity::load(dir.path()).unwrap(),
            settings: Download {
                rate: Default::default(),
                utc_offset: 0,
                monthly_limit: 0,
                connect_timeout: 30 * second,
                read_timeout: 30 * second,
                retry: Range {
                    min: second,
                    max: second,
                },
                attempts: 1,
                give_up_after: second,
                token_wait: second,
                reserve: 0,
                allow_http: false,
            },
            traffic: Traffic::counting(dir.path().join("traffic.json"), None),
            partial: Partial::open(&dir.path().join("1.part"), 0).unwrap(),
            dir,
        };
        client.trust(&fs::read(pki.tls_ca()).unwrap());
        client
    }

    fn trust(&self, pem: &[u8]) {
        fs::write(self.dir.path().join("station-ca.pem"), pem).unwrap();
    }

    fn get(&self, host: &str, port: u16) -> anyhow::Result<(u16, Vec<u8>)> {
        let url = format!("https://{host}:{port}/x.dau");
        let url = DownloadUrl::parse(&url).unwrap();
        let http = Http {
            settings: &self.settings,
            identity: &self.identity,
            traffic: &self.traffic,
        };
        let mut response = http.get(&url, Some("token"), &self.partial)?;
        let mut body = Vec::new();
        response.body.read_to_end(&mut body)?;
        Ok((response.seen().status, body))
    }
}

#[test]
fn interim_answers_are_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(&dir.path().join("pki"), "127.0.0.1");
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\nContent-Length: 9\r\n\r\n";
    let before = [
        "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
        "HTTP/1.1 102 Processing\r\n\r\n".to_owned(),
        hints.to_owned(),
        format!("HTTP/1.1 100 Continue\r\n\r\n{hints}{hints}HTTP/1.1 199 Odd\r\n\r\n"),
        hints.repeat(1000),
    ];
    let answers = before.iter().map(|before| (before.clone() + BODY).into());
    let port = serve("127.0.0.1", &pki, answers.collect(), false);
    let client = Client::new(&pki);
    for before in before {
        let answer = client.get("127.0.0.1", port);
        let answer = answer.unwrap_or_else(|error| panic!("{before:.40}: {error:#}"));
        assert_eq!(answer, (200, b"body".to_vec()), "{before:.40}");
    }
}

#[test]
fn answers_without_an_end_have_one() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(&dir.path().join("pki"), "127.0.0.1");
    for piece in [
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        "HTTP/1.1 100 Continue\r\nA: b\r\n",
        "A: b\r\n",
        "0123456789",
    ] {
        let port = serve("127.0.0.1", &pki, vec![piece.into()], true);
        let mut client = Client::new(&pki);
        client.settings.read_timeout = Duration::from_millis(300);
        let error = client.get("127.0.0.1", port).unwrap_err();
        assert!(
            error.to_string().starts_with("no answer"),
            "{piece}: {error:#}"
        );
    }
}

#[test]
fn answers_that_make_no_sense_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(&dir.path().join("pki"), "127.0.0.1");
    let many = "A: b\r\n".repeat(MAX_HEADERS + 1);
    let answers: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"HTTP/1.1 999999 OK\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nbody".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nbody".to_vec(),
        format!("HTTP/1.1 200 OK\r\n{many}\r\n").into(),
        b"\x16\x03\x01\x00\xff".repeat(100),
    ];
    let port = serve("127.0.0.1", &pki, answers.clone(), false);
    let client = Client::new(&pki);
    for answer in answers {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        assert!(client.get("127.0.0.1", port).is_err(), "{shown:.60}");
    }
}

#[test]
fn a_station_is_reached_by_its_ipv6_address_and_by_no_certificate_of_another() {
    if TcpListener::bind(("::1", 0)).is_err() {
        // No IPv6 on this machine.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, taken) in [("::1", true), ("::2", false), ("localhost", false)] {
        let pki = pki(&dir.path().join(name), name);
        let port = serve("::1", &pki, vec![BODY.into()], false);
        let answer = Client::new(&pki).get("[::1]", port);
        assert_eq!(answer.is_ok(), taken, "{name}: {answer:?}");
    }
}

#[test]
fn the_ca_is_read_anew_before_each_connection() {
    let dir = tempfile::tempdir().unwrap();
    let old = pki(&dir.path().join("old"), "127.0.0.1");
    let new = pki(&dir.path().join("new"), "127.0.0.1");
    let client = Client::new(&old);
    let port = serve("127.0.0.1", &old, vec![BODY.into(); 1], false);
    client.get("127.0.0.1", port).unwrap();
    let port = serve("127.0.0.1", &new, vec![BODY.into(); 2], false);
    assert!(client.get("127.0.0.1", port).is_err());
    for broken in ["", "-----BEGIN CERTIFICATE-----\nbroken"] {
        client.trust(broken.as_bytes());
        let error = format!("{:#}", client.get("127.0.0.1", port).unwrap_err());
        assert!(error.contains("station-ca.pem"), "{error}");
    }
    client.trust(&fs::read(new.tls_ca()).unwrap());
    client.get("127.0.0.1", port).unwrap();
}
