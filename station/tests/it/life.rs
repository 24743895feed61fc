//! Terminals that are blocked, admitted again and decommissioned.

use std::fs::{self, OpenOptions};
use std::io::Write;

use attohttpc::Method;
use native_tls::{Certificate, Identity, TlsConnector};
use rumqttc::{Client, Event, MqttOptions, Packet, Transport};
use serde_json::json;

use crate::site::{wait_for, Site};

/// Tells whether the broker admits a terminal.
fn admits(site: &Site, id: &str) -> bool {
    let (certificate, key) = site.pki.tls_identity(&format!("terminals/{id}"));
    let (certificate, key) = (fs::read(certificate).unwrap(), fs::read(key).unwrap());
    let ca = fs::read(site.pki.tls_ca()).unwrap();
    let tls = TlsConnector::builder()
        .add_root_certificate(Certificate::from_pem(&ca).unwrap())
        .identity(Identity::from_pkcs8(&certificate, &key).unwrap())
        .build()
        .unwrap();
    let mut options = MqttOptions::new(id, "localhost", site.mqtt_port);
    options.set_transport(Transport::tls_with_config(tls.into()));
    let (client, mut connection) = Client::new(options, 10);
    let first = connection
        .iter()
        .find(|event| matches!(event, Ok(Event::Incoming(Packet::ConnAck(_))) | Err(_)));
    drop(client);
    matches!(first, Some(Ok(_)))
}

/// Makes the list of refused certificates, as an operator does.
fn list(site: &Site) -> String {
    let (pki, output) = (site.path("pki"), site.path("crl.pem"));
    let args = [
        "crl",
        "--pki",
        pki.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
    ];
    let said = site.cli(&args);
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn a_blocked_terminal_gets_nothing_and_the_broker_refuses_its_certificate() {
    let mut site = Site::prepare("");
    site.start_station();
    assert!(list(&site).starts_with("0 certificates of 0 terminals"));
    let config = site.path("station/mosquitto.conf");
    let mut config = OpenOptions::new().append(true).open(config).unwrap();
    writeln!(config, "crlfile {}", site.path("crl.pem").display()).unwrap();
    site.start_broker();
    // What terminals say before the station's first connection is lost.
    wait_for("the station's link to the broker", || {
        (site.get("healthz")["broker"] == true).then_some(())
    });
    site.rest(Method::PUT, "terminals/t2", None);
    let mut terminal = site.terminal("t1");
    let job = site.order("t1", site.package("1.1.0"));
    assert_eq!(terminal.take_order().job_id, job);
    site.wait_state(job, "accepted");

    let said = site.cli(&["life", "t1", "blocked", "--reason", "stolen"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("blocked"), "{said}");
    terminal.progress(job, "downloading", 10, false);
    terminal.say_link_up("6.6.6");
    let order = json!({"terminals": ["t1"], "package": 1});
    let (status, problem) = site.post("orders", order);
    assert_eq!((status, problem["error"].as_str()), (409, Some("blocked")));
    let order = json!({"filter": "id in (t1, t2)", "package": 1, "force": true});
    let (_, placed) = site.post("orders", order);
    let placed = site.made(placed["id"].as_i64().unwrap());
    assert_eq!(
        placed["skipped"],
        json!({"blocked": 1, "unknown-product": 1})
    );
    wait_for("its messages to be refused", || {
        site.station_log()
            .contains("t1: it is barred")
            .then_some(())
    });
    assert_eq!(site.job(job)["state"], "accepted");
    assert_eq!(site.get("terminals/t1")["version"], "1.0.0");
    let barred = site.get("terminals?filter=life%3Dblocked");
    assert_eq!(barred["terminals"][0]["id"], "t1");
    assert_eq!(site.get("terminals/t2")["life"], "expected");

    assert!(admits(&site, "t1"), "the broker does not know yet");
    assert!(list(&site).starts_with("1 certificates of 1 terminals"));
    site.reload_broker();
    wait_for("the broker to refuse it", || {
        (!admits(&site, "t1")).then_some(())
    });
    assert!(admits(&site, "t2"));

    site.cli(&["life", "t1", "linked"]);
    list(&site);
    site.reload_broker();
    wait_for("the broker to admit it", || {
        admits(&site, "t1").then_some(())
    });
    drop(terminal);
    let mut terminal = site.terminal("t1");
    terminal.progress(job, "downloading", 10, false);
    site.wait_state(job, "downloading");

    let (status, _) = site.rest(
        Method::PUT,
        "terminals/t1/life",
        Some(json!({"life": "decommissioned"})),
    );
    assert_eq!(status, 200);
    let ended = site.job(job);
    assert_eq!(ended["result"]["word"], "abandoned", "{ended}");
    assert_eq!(site.get("terminals/t1")["life"], "decommissioned");
}
