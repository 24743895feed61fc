//! Tokens of the REST interface.

use std::fs;

use attohttpc::Method;

use crate::site::{wait_for, Site};

#[test]
fn only_holders_of_a_token_come_in() {
    let site = Site::start();
    let status = |method, path: &str, token: Option<&str>| {
        let mut request = site.request(method, &site.url(&format!("/api/v1/{path}")));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().unwrap().status().as_u16()
    };
    for path in [
        "packages",
        "terminals",
        "jobs",
        "terminals/t1",
        "jobs/1",
        "orders",
        "orders/1",
        "orders/1/skipped",
    ] {
        for token in [None, Some(""), Some("wrong"), Some(&site.token[1..])] {
            assert_eq!(status(Method::GET, path, token), 401, "{path} {token:?}");
        }
    }
    for path in ["packages", "orders", "orders/1/cancel", "jobs/1/cancel"] {
        assert_eq!(status(Method::POST, path, None), 401, "{path}");
    }
    assert_eq!(status(Method::GET, "healthz", None), 200);
    assert_eq!(status(Method::GET, "openapi.json", None), 200);
}

#[test]
fn tokens_are_read_again_at_sighup() {
    let site = Site::start();
    let made = site.cli(&["token", "second"]);
    let token = String::from_utf8(made.stdout).unwrap();
    let status = |token: &str| {
        let request = site.request(Method::GET, &site.url("/api/v1/jobs"));
        request.bearer_auth(token).send().unwrap().status().as_u16()
    };
    assert_eq!(status(token.trim()), 401);
    fs::write(site.path("station/api-tokens"), made.stderr).unwrap();
    site.hang_up();
    wait_for("the new token to count", || {
        (status(token.trim()) == 200).then_some(())
    });
    assert_eq!(status(&site.token), 401);
}

#[test]
fn attack_guessed_tokens_are_logged_and_limited_but_good_ones_come_in() {
    let site = Site::start();
    let try_with = |token: &str| {
        let request = site.request(Method::GET, &site.url("/api/v1/jobs"));
        request.bearer_auth(token).send().unwrap()
    };
    let statuses: Vec<u16> = (0..40)
        .map(|index| try_with(&format!("guess{index}")).status().as_u16())
        .collect();
    assert_eq!(statuses[0], 401);
    assert!(statuses.contains(&429), "{statuses:?}");
    let limited = try_with("guess");
    if limited.status().as_u16() == 429 {
        assert!(limited.headers().contains_key("retry-after"));
    }
    assert_eq!(try_with(&site.token).status().as_u16(), 200);
    let log = site.station_log();
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("login refused"))
        .collect();
    assert!((1..20).contains(&lines.len()), "{lines:?}");
    assert!(lines[0].contains("127.0.0.1") && !log.contains("guess"));
    assert!(
        lines[0].starts_with("20") && lines[0].contains('T'),
        "no time: {}",
        lines[0]
    );
}
