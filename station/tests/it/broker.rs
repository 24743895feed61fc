//! The broker's own rules, as `dau-station init` writes them.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use dau_package::make::{Pki, PkiOptions};
use dau_protocol::{message_type, Channel, Envelope, Topic};
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};
use serde_json::json;

use crate::site::{wait_for, Site};
use crate::terminal::Terminal;

#[test]
fn attack_a_terminal_speaks_for_another_one() {
    // The order is not sent again because the machine is slow.
    let site = Site::start_with("[jobs]\nresend_seconds = 60\n");
    let mut victim = site.terminal("t1");
    let mut attacker = site.terminal("t2");
    let job = site.order("t1", site.package("1.1.0"));
    victim.take_order();
    site.wait_state(job, "accepted");
    let forged = Envelope::request(
        9,
        "t1",
        1_800_000_000,
        message_type::JOB_RESULT,
        json!({"jobId": job, "code": 200}),
    );
    let data = Topic::new("t1", Channel::Data).to_string();
    attacker.publish(&data, forged.to_bytes());
    let command = Topic::new("t1", Channel::Command).to_string();
    attacker.publish(&command, forged.to_bytes());
    let own_command = Topic::new("t2", Channel::Command).to_string();
    attacker.publish(&own_command, forged.to_bytes());
    // After all that, its own message comes through.
    attacker.link_up();
    assert_eq!(site.job(job)["state"], "accepted");
    assert!(!site.record(job).contains(&"result".to_owned()));
    assert!(victim.next(Duration::from_secs(1)).is_none());
    assert!(attacker.next(Duration::from_secs(1)).is_none());
}

#[test]
fn attack_a_terminal_listens_to_another_one() {
    let site = Site::start();
    let mut victim = site.terminal("t1");
    let attacker = Terminal::connect_as(&site, "t2", "t2", "t1", true);
    let job = site.order("t1", site.package("1.1.0"));
    assert_eq!(victim.take_order().job_id, job);
    let heard = attacker.next(Duration::from_secs(2));
    assert!(heard.is_none(), "{heard:?}");
}

/// With a client id of its choice a terminal could disconnect others, and the station, from the
/// broker.
#[test]
fn attack_a_terminal_takes_the_client_id_of_the_station() {
    let site = Site::start();
    let attacker = Terminal::connect_as(&site, "t2", "dau-station", "t2", true);
    let second = Terminal::connect_as(&site, "t1", "station", "t1", true);
    assert_eq!((attacker.lost(), second.lost()), (None, None));
    assert_eq!(site.get("healthz")["broker"], true);
    let log = site.station_log();
    assert!(!log.contains("broker not connected"), "{log}");
}

#[test]
fn attack_a_client_without_a_certificate() {
    let site = Site::start();
    let ca = std::fs::read(site.pki.tls_ca()).unwrap();
    let tls = native_tls::TlsConnector::builder()
        .add_root_certificate(native_tls::Certificate::from_pem(&ca).unwrap())
        .build()
        .unwrap();
    let mut options = rumqttc::MqttOptions::new("nobody", "localhost", site.mqtt_port);
    options.set_transport(rumqttc::Transport::tls_with_config(tls.into()));
    let (_client, mut connection) = rumqttc::Client::new(options, 10);
    let first = connection.recv().unwrap();
    assert!(first.is_err(), "{first:?}");
    // Plain TCP gets no further either.
    assert!(TcpStream::connect(("127.0.0.1", site.mqtt_port)).is_ok());
    let mut plain = rumqttc::MqttOptions::new("nobody", "localhost", site.mqtt_port);
    plain.set_keep_alive(Duration::from_secs(5));
    let (_client, mut connection) = rumqttc::Client::new(plain, 10);
    assert!(connection.recv().unwrap().is_err());
}

#[test]
fn the_station_comes_back_when_the_broker_does() {
    let mut site = Site::start();
    site.kill_broker();
    wait_for("the loss to be noticed", || {
        (site.get("healthz")["status"] == "degraded").then_some(())
    });
    site.start_broker();
    wait_for("the link", || {
        (site.get("healthz")["broker"] == true).then_some(())
    });
    site.terminal("t1");
}

/// Sends messages of 200 KB as fast as the broker accepts them.
#[test]
fn attack_a_terminal_floods_the_station() {
    let site = Site::start();
    let mut honest = site.terminal("t1");
    let mut rogue = site.terminal("t2");
    let job = site.order("t1", site.package("1.1.0"));
    honest.take_order();
    let record =
        || std::fs::metadata(site.path("station/data/station.db-wal")).map_or(0, |m| m.len());
    let (before, memory) = (record(), site.station_memory());
    let data = Topic::new("t2", Channel::Data).to_string();
    let flood = |mid: i64| {
        let param = json!({"jobId": mid, "code": 500, "msg": "x".repeat(200_000)});
        Envelope::request(mid, "t2", 0, message_type::JOB_RESULT, param).to_bytes()
    };
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            for mid in 0..400 {
                rogue.publish(&data, flood(mid));
            }
            rogue.wait_acknowledged();
        });
        // In the middle of it.
        std::thread::sleep(Duration::from_millis(300));
        honest.finish(job, 200, "success");
        flooding.join().unwrap();
    });
    assert_eq!(site.job(job)["result"]["outcome"], "success");
    let grown = site.station_memory().saturating_sub(memory);
    assert!(grown < 48 << 20, "the station grew by {grown} bytes");
    let written = record().saturating_sub(before);
    assert!(written < 8 << 20, "{written} bytes were written");
    let log = site.station_log();
    let lines = log
        .lines()
        .filter(|line| line.contains("were dropped"))
        .count();
    assert!((1..40).contains(&lines), "{lines} lines on drops");
    // It is heard again once it is quiet.
    rogue.link_up();
}

/// A broker that refuses the subscriptions, then grants less than requested, then everything.
#[test]
fn a_refused_subscription_is_an_error_and_is_tried_again() {
    let mut site = Site::prepare("");
    let listener = TcpListener::bind(("127.0.0.1", site.mqtt_port)).unwrap();
    let (certificate, key) = site.pki.tls_identity("broker");
    let mut tls = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    tls.set_certificate_chain_file(certificate).unwrap();
    tls.set_private_key_file(key, SslFiletype::PEM).unwrap();
    let tls = tls.build();
    std::thread::spawn(move || {
        for granted in [0x80, 0x00, 0x01] {
            let (connection, _) = listener.accept().unwrap();
            let mut connection = tls.accept(connection).unwrap();
            while let Some((kind, content)) = read_packet(&mut connection) {
                let answer = match kind >> 4 {
                    1 => vec![0x20, 2, 0, 0],
                    8 => vec![0x90, 5, content[0], content[1], granted, granted, granted],
                    _ => continue,
                };
                connection.write_all(&answer).unwrap();
            }
        }
    });
    site.start_station();
    wait_for("the refusals", || {
        let refusals = site
            .station_log()
            .matches("refuses the subscriptions")
            .count();
        (refusals >= 2).then_some(())
    });
    wait_for("the link", || {
        (site.get("healthz")["broker"] == true).then_some(())
    });
}

fn read_packet(connection: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    connection.read_exact(&mut byte).ok()?;
    let kind = byte[0];
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        connection.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7F) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut content = vec![0; length];
    connection.read_exact(&mut content).ok()?;
    Some((kind, content))
}

#[test]
fn certificates_are_read_anew_and_broken_ones_change_nothing() {
    let mut site = Site::start();
    let folder = site.path("pki/tls");
    let tls = move |name: &str| folder.join(name);
    let reload = |site: &Site| {
        let before = site.station_log().matches("read again").count();
        let pid = nix::unistd::Pid::from_raw(site.station_pid().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
        wait_for("the reading", || {
            (site.station_log().matches("read again").count() > before).then_some(())
        });
    };
    let (mqtt_key, https) = (tls("station-mqtt.key"), tls("station.pem"));
    let kept = (fs::read(&mqtt_key).unwrap(), fs::read(&https).unwrap());
    fs::write(&mqtt_key, "no key").unwrap();
    fs::write(&https, "no certificate").unwrap();
    reload(&site);
    site.kill_broker();
    site.start_broker();
    wait_for("the link", || {
        (site.get("healthz")["broker"] == true).then_some(())
    });
    assert!(site.station_log().contains("mqtt.key: not a private key"));
    assert!(site.station_log().contains("not read again"));
    fs::write(&mqtt_key, kept.0).unwrap();
    fs::write(&https, kept.1).unwrap();

    // A new authority with new certificates for all.
    Pki::create(&site.path("renewed"), &PkiOptions::default()).unwrap();
    for name in [
        "ca.pem",
        "station.pem",
        "station.key",
        "station-mqtt.pem",
        "station-mqtt.key",
    ] {
        fs::copy(site.path("renewed/tls").join(name), tls(name)).unwrap();
    }
    for name in ["broker.pem", "broker.key"] {
        fs::copy(site.path("renewed/tls").join(name), tls(name)).unwrap();
    }
    reload(&site);
    site.kill_broker();
    site.start_broker();
    wait_for("the link", || {
        (site.get("healthz")["broker"] == true).then_some(())
    });
}
