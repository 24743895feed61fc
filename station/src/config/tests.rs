use super::*;

/// Returns a configuration with the defaults.
pub fn sample() -> Config {
    Config::parse(SAMPLE, Path::new("/etc/dau-station")).unwrap()
}

const SAMPLE: &str = r#"
data_dir = "data"
keyring = "/etc/keyring"
[https]
listen = "127.0.0.1:8443"
certificate = "https.pem"
key = "https.key"
public_url = "https://station.example:8443"
[mqtt]
host = "broker.example"
ca = "ca.pem"
certificate = "mqtt.pem"
key = "mqtt.key"
[api]
tokens = "api-tokens"
"#;

#[test]
fn what_is_not_said_has_a_default_and_paths_are_beside_the_file() {
    let config = Config::parse(SAMPLE, Path::new("/etc/dau-station")).unwrap();
    assert_eq!(config.data_dir, Path::new("/etc/dau-station/data"));
    assert_eq!(config.keyring, Path::new("/etc/keyring"));
    assert_eq!(config.mqtt.port, 8883);
    assert_eq!(config.downloads.concurrent, 1000);
    assert_eq!(config.jobs.resend_seconds, 30);
}

#[test]
fn several_stations_share_database_and_packages_and_have_names() {
    let text = |share: &str| {
        format!(
            "shared_dir = \"/srv/dau\"\n{}[database]\nurl = \"postgresql://dau@/dau?host=/run\"\n",
            SAMPLE.replacen("[mqtt]\n", &format!("[mqtt]\n{share}\n"), 1)
        )
    };
    let good = text("share = \"dau\"\nclient_id = \"station-2\"");
    let config = Config::parse(&good, Path::new("/etc")).unwrap();
    assert_eq!(config.shared_dir(), Path::new("/srv/dau"));
    for (bad, named) in [
        (text("share = \"dau\""), "mqtt.client_id"),
        (text("share = \"a/b\"\nclient_id = \"s\""), "mqtt.share"),
        (
            text("share = \"dau\"\nclient_id = \"../x\""),
            "mqtt.client_id",
        ),
        (
            good.replacen("shared_dir = \"/srv/dau\"\n", "", 1),
            "shared_dir",
        ),
        (
            good.split("[database]").next().unwrap().to_owned(),
            "database.url",
        ),
    ] {
        let error = Config::parse(&bad, Path::new("/etc")).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
}

/// A typo here would be in every order of a fleet.
#[test]
fn attack_by_typo_a_url_that_no_terminal_can_use_stops_the_start() {
    let with = |url: &str| {
        let text = SAMPLE.replacen("https://station.example:8443", url, 1);
        Config::parse(&text, Path::new("/"))
    };
    for url in [
        "https://station",
        "https://[::1]:8443",
        "https://[2001:db8::1]",
        "https://10.0.0.1:443/dau",
    ] {
        with(url).unwrap();
    }
    for url in [
        "https://",
        "https://station:84433",
        "https://station:0",
        "https://h:-1",
        "https://::1:8443",
        "https://[::1:8443",
        "https://user:word@station",
        "https://sta tion",
        "https://station/?x=1",
        "https://station/a#b",
        "https://station/",
        "https:/station",
        "station:8443",
        "http://station:8443",
        "",
    ] {
        let error = with(url).unwrap_err();
        assert!(error.contains("https.public_url"), "{url}: {error}");
    }
}

#[test]
fn an_error_names_the_key() {
    let cases = [
        (
            "https://station.example:8443",
            "http://station.example",
            "https.public_url",
        ),
        (
            "https://station.example:8443",
            "https://station.example/",
            "https.public_url",
        ),
        ("host = \"broker.example\"", "host = \"\"", "mqtt.host"),
        (
            "host = \"broker.example\"",
            "hosts = \"broker.example\"",
            "hosts",
        ),
        ("127.0.0.1:8443", "127.0.0.1", "listen"),
        ("key = \"mqtt.key\"", "", "key"),
        (
            "[api]",
            "[downloads]\nconcurrent = 0\n[api]",
            "downloads.concurrent",
        ),
        (
            "[api]",
            "[jobs]\nresend_most_seconds = 1\n[api]",
            "jobs.resend_most_seconds",
        ),
        ("[api]", "[jobs]\nresend = 1\n[api]", "resend"),
        ("[api]", "[jobs]\nbudget = 1000\n[api]", "jobs.budget"),
    ];
    for (from, to, key) in cases {
        let error = Config::parse(&SAMPLE.replacen(from, to, 1), Path::new("/")).unwrap_err();
        assert!(error.contains(key), "{to}: {error}");
    }
}
