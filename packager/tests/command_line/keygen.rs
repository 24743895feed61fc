//! `keygen`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::common::Bench;

#[test]
fn keys_are_private_and_never_overwritten() {
    let bench = Bench::new("ecdsa");
    let key = |name: &str| fs::read(bench.path(name)).unwrap();
    let signer = key("pki/package/signer.key");
    assert!(bench
        .run_badly(1, &["keygen", "--out", "pki"])
        .contains("never overwritten"));
    bench.run_well(&["keygen", "terminal", "--pki", "pki", "--id", "T1"]);
    let terminal = key("pki/tls/terminals/T1.key");
    bench.run_badly(1, &["keygen", "terminal", "--pki", "pki", "--id", "T1"]);
    bench.run_badly(
        1,
        &["keygen", "terminal", "--pki", "pki", "--id", "../../T1"],
    );
    bench.run_badly(1, &["keygen", "terminal", "--pki", "missing", "--id", "T1"]);
    assert_eq!(
        (
            key("pki/package/signer.key"),
            key("pki/tls/terminals/T1.key")
        ),
        (signer, terminal)
    );

    let find = "find pki -name '*.key' -printf '%m %p\\n'";
    let listed = Command::new("sh")
        .args(["-c", find])
        .current_dir(bench.dir.path())
        .output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    assert_eq!(listed.lines().count(), 8);
    assert!(
        listed.lines().all(|line| line.starts_with("600 ")),
        "{listed}"
    );
    let package = fs::metadata(bench.path("pki/keyring/root.pem")).unwrap();
    assert_eq!(package.permissions().mode() & 0o777, 0o644);
}

/// TLS libraries check these: the names of the station, and the allowed use of each certificate.
#[test]
fn tls_certificates_are_for_what_they_are_named_after() {
    let bench = Bench::new("ed25519");
    let names = [
        "--station-name",
        "station.example",
        "--station-name",
        "192.0.2.7",
        "--terminal",
        "T20SHEIRI001",
    ];
    bench.run_well(&[&["keygen", "--out", "other"][..], &names].concat());
    let verify = |certificate: &str, options: &str| {
        let script = format!(
            "openssl verify -CAfile other/tls/ca.pem {options} other/tls/{certificate}.pem"
        );
        let output = Command::new("sh")
            .args(["-c", &script])
            .current_dir(bench.dir.path())
            .output();
        output.unwrap().status.success()
    };
    for server in ["station", "broker"] {
        assert!(verify(
            server,
            "-purpose sslserver -verify_hostname station.example"
        ));
        assert!(verify(server, "-purpose sslserver -verify_ip 192.0.2.7"));
        assert!(!verify(server, "-verify_hostname localhost"));
        assert!(!verify(server, "-purpose sslclient"));
    }
    for client in ["station-mqtt", "terminals/T20SHEIRI001"] {
        assert!(verify(client, "-purpose sslclient"));
        assert!(!verify(client, "-purpose sslserver"));
    }
    let shown = "openssl x509 -noout -subject -in other/tls/terminals/T20SHEIRI001.pem";
    let shown = Command::new("sh")
        .args(["-c", shown])
        .current_dir(bench.dir.path())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&shown.stdout).trim(),
        "subject=CN = T20SHEIRI001"
    );
}
