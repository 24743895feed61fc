//! The broker's own rules, as `dau-station init` writes them.

use std::net::TcpStream;
use std::time::Duration;

use dau_protocol::{message_type, Envelope, Topic, Word};
use serde_json::json;

use crate::site::{wait_for, Site};
use crate::terminal::Terminal;

#[test]
fn attack_a_terminal_speaks_for_another_one() {
    let site = Site::start();
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
    let data = Topic::new("t1", Word::Data).to_string();
    attacker.publish(&data, forged.to_bytes());
    let command = Topic::new("t1", Word::Command).to_string();
    attacker.publish(&command, forged.to_bytes());
    let own_command = Topic::new("t2", Word::Command).to_string();
    attacker.publish(&own_command, forged.to_bytes());
    // What it says for itself comes through, after all that.
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

/// With a client id of its choice a terminal could push others, and the station, off the broker.
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
    // Plain TCP comes no further either.
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
