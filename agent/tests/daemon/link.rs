//! The connection to the broker: what is trusted on it, what is heard on it, and what the log says
//! of it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::mpsc::{channel, Receiver};

use crate::support::packages::Wish;
use crate::support::station::order;
use crate::support::terminal::Terminal;
use crate::support::{wait_for, World, PATIENCE, TERMINAL};
use dau_handoff::layout::identity::{CERTIFICATE, KEY, STATION_CA};
use dau_package::make::{Pki, PkiOptions};
use dau_protocol::{message_type, Channel, Envelope, Topic};
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};
use serde_json::json;

fn pki(dir: &Path, terminals: &[&str]) -> Pki {
    let options = PkiOptions {
        terminals: terminals.iter().map(|id| (*id).to_owned()).collect(),
        ..PkiOptions::default()
    };
    Pki::create(&dir.join("pki"), &options).unwrap()
}

#[test]
fn a_retained_order_is_not_carried_out() {
    let mut world = World::new();
    let url = world
        .files
        .offer("full.dau", world.maker.make(&Wish::default()));
    let param = order(7, 3, "1.1.0", &url);
    let now = dau_system::clock::now();
    let message = Envelope::request(5, TERMINAL, now, message_type::UPGRADE, param);
    // The terminal subscribes later: only so does the broker say that the message is a retained
    // one.
    world.station.retain(Channel::Command, &message.to_bytes());
    world.start();
    wait_for("the log's word of it", || {
        world.terminal.log().contains("retained").then_some(())
    });
    let answer = world
        .station
        .ask(message_type::STATUS_QUERY, json!({"jobId": 7}));
    assert!(answer.msg.contains("not known"), "{}", answer.msg);
    assert!(world.files.requests().is_empty() && world.terminal.job().is_none());
    // Nor answered: the station would take that for the word on an order that it gave since.
    let replies =
        |line: &str| line.contains("device/reply") && line.contains(message_type::UPGRADE);
    assert!(!world.terminal.log().lines().any(replies));
}

#[test]
fn a_renewed_certificate_and_ca_count_from_the_next_connection_on() {
    let mut world = World::new();
    world.start();
    let identity = world.terminal.layout.identity();
    let files = [CERTIFICATE, KEY, STATION_CA];
    let good = files.map(|name| fs::read(identity.join(name)).unwrap());
    for (name, good) in files.iter().zip(&good) {
        for broken in ["", "-----BEGIN CERTIFICATE-----\nbroken"] {
            fs::write(identity.join(name), broken).unwrap();
            let told = || world.terminal.log().matches("read again").count();
            let before = told();
            world.broker.restart();
            wait_for(name, || (told() > before).then_some(()));
        }
        fs::write(identity.join(name), good).unwrap();
    }
    // From now on another CA vouches for everybody.
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path(), &[TERMINAL]);
    world.broker.renew(&pki);
    let (certificate, key) = pki.tls_identity(&format!("terminals/{TERMINAL}"));
    fs::copy(certificate, identity.join(CERTIFICATE)).unwrap();
    fs::copy(key, identity.join(KEY)).unwrap();
    fs::copy(pki.tls_ca(), identity.join(STATION_CA)).unwrap();
    world.station = crate::support::station::Station::connect(&world.broker, &pki);
    // The broker may have lost the session when it was killed: what is sent before would not be
    // kept.
    world.station.expect_type(message_type::LINK_UP);
    let answer = world
        .station
        .ask(message_type::STATUS_QUERY, json!({"jobId": 1}));
    assert!(answer.code.is_some() && world.terminal.runs());
}

#[test]
fn an_agent_that_starts_with_broken_tls_files_connects_once_they_are_mended() {
    let mut world = World::new();
    let path = world.terminal.layout.identity().join(CERTIFICATE);
    let good = fs::read(&path).unwrap();
    fs::write(&path, "broken").unwrap();
    world.terminal.start();
    wait_for("the log's word of it", || {
        world.terminal.log().contains(CERTIFICATE).then_some(())
    });
    fs::write(&path, good).unwrap();
    world.station.expect_type(message_type::LINK_UP);
}

#[test]
fn a_terminal_with_the_certificate_of_another_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path(), &[TERMINAL, "T-0002"]);
    let broker = crate::support::broker::Broker::start(&dir.path().join("broker"), &pki);
    let mut terminal = Terminal::new(&dir.path().join("terminal"), &pki, broker.port, "");
    let (certificate, key) = pki.tls_identity("terminals/T-0002");
    let identity = terminal.layout.identity();
    fs::copy(certificate, identity.join(CERTIFICATE)).unwrap();
    fs::copy(key, identity.join(KEY)).unwrap();
    terminal.start();
    wait_for("the log's word of it", || {
        let log = terminal.log();
        let mut errors = log.lines().filter(|line| line.contains("ERROR"));
        errors
            .any(|line| line.contains(TERMINAL) && line.contains("T-0002"))
            .then_some(())
    });
    // It still tries.
    wait_for("the connection", || {
        broker.log().contains("T-0002").then_some(())
    });
    assert!(terminal.runs());
}

/// A broker that answers CONNECT and SUBSCRIBE with these bytes; tells of each packet type that it
/// hears.
fn broker(pki: &Pki, suback: &'static [u8]) -> (u16, Receiver<u8>) {
    let (certificate, key) = pki.tls_identity("broker");
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_certificate_chain_file(certificate).unwrap();
    acceptor
        .set_private_key_file(key, SslFiletype::PEM)
        .unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, heard) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(mut stream) = acceptor.accept(stream) else {
                continue;
            };
            let mut head = [0; 2];
            while stream.read_exact(&mut head).is_ok() {
                // The remaining length: 7 bits in each byte.
                let (mut length, mut shift, mut byte) = (usize::from(head[1] & 127), 7, [head[1]]);
                while byte[0] & 128 != 0 {
                    stream.read_exact(&mut byte).unwrap();
                    length |= usize::from(byte[0] & 127) << shift;
                    shift += 7;
                }
                let mut content = vec![0; length];
                stream.read_exact(&mut content).unwrap();
                let answered = match head[0] >> 4 {
                    1 => stream.write_all(&[0x20, 2, 0, 0]),
                    8 => {
                        let length = u8::try_from(2 + suback.len()).unwrap();
                        let head = [0x90, length, content[0], content[1]];
                        stream.write_all(&[&head, suback].concat())
                    }
                    _ => Ok(()),
                };
                if sender.send(head[0] >> 4).is_err() || answered.is_err() {
                    break;
                }
            }
        }
    });
    (port, heard)
}

#[test]
fn a_denied_subscription_is_no_connection() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path(), &[TERMINAL]);
    for (name, suback) in [
        ("both denied", &[0x80, 0x80][..]),
        ("one denied", &[1, 0x80]),
        ("one left out", &[1]),
    ] {
        let (port, heard) = broker(&pki, suback);
        let mut terminal = Terminal::new(&dir.path().join(name), &pki, port, "");
        terminal.start();
        let mut connects = 0;
        while connects < 4 {
            match heard.recv_timeout(PATIENCE).expect(name) {
                1 => connects += 1,
                // EVENT_LINKUP would be a PUBLISH.
                packet => assert_eq!(packet, 8, "{name}"),
            }
        }
        let log = terminal.log();
        let topic = Topic::new(TERMINAL, Channel::Response).to_string();
        let told = |line: &str| line.contains("ERROR") && line.contains(&topic);
        assert!(log.lines().any(told), "{name}");
        assert!(terminal.runs());
    }
}

#[test]
fn a_message_cannot_write_lines_of_its_own_into_the_log() {
    let mut world = World::new();
    world.start();
    let forged = "CMD_X\n2026-01-01T00:00:00Z INFO  all is well\x1b[2J\x07";
    let answer = world.station.ask(forged, json!({}));
    assert!(answer.code.is_some());
    wait_for("the log's word of it", || {
        world.terminal.log().contains("all is well").then_some(())
    });
    let log = world.terminal.log();
    assert!(!log.contains(['\x1b', '\x07']), "{log}");
    let forged = |line: &str| line.starts_with("2026-01-01T00:00:00Z INFO");
    assert!(!log.lines().any(forged), "{log}");
}
