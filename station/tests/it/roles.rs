//! Roles of tokens, and sessions of the page.

use std::fs;

use attohttpc::{Method, Response};
use serde_json::{json, Value};

use crate::site::{wait_for, Site};

/// Makes a token by the command line and has the station read it; returns it.
fn token(site: &Site, name: &str, more: &[&str]) -> String {
    let made = site.cli(&[&["token", name], more].concat());
    assert!(made.status.success(), "{made:?}");
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let file = site.path("station/api-tokens");
    let lines = fs::read_to_string(&file).unwrap() + &String::from_utf8(made.stderr).unwrap();
    fs::write(file, lines).unwrap();
    site.hang_up();
    wait_for("the new token to count", || {
        let (_, answer) = with(site, Method::GET, "session", &[bearer(&token)]);
        (answer["error"] != "unauthorized").then_some(())
    });
    token
}

fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

fn send(site: &Site, method: Method, path: &str, fields: &[(&'static str, String)]) -> Response {
    let mut request = site.request(method, &site.url(&format!("/api/v1/{path}")));
    for (name, value) in fields {
        request = request.header(*name, value);
    }
    request.send().unwrap()
}

fn with(
    site: &Site,
    method: Method,
    path: &str,
    fields: &[(&'static str, String)],
) -> (u16, Value) {
    let response = send(site, method, path, fields);
    let status = response.status().as_u16();
    let text = response.text().unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Begins a session; returns the cookie and the second secret.
fn log_in(site: &Site, token: &str) -> (String, String) {
    let response = send(site, Method::POST, "session", &[bearer(token)]);
    assert_eq!(response.status().as_u16(), 201);
    let cookie = response.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .to_owned();
    for attribute in [
        "__Host-",
        "; Path=/;",
        "; Secure",
        "; HttpOnly",
        "; SameSite=Strict",
    ] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let session: Value = serde_json::from_str(&response.text().unwrap()).unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    (cookie, session["csrf"].as_str().unwrap().to_owned())
}

#[test]
fn a_role_allows_what_it_is_for_and_a_refusal_says_which_is_needed() {
    let site = Site::start();
    site.rest(Method::PUT, "terminals/t1", None);
    let package = site.package("1.1.0");
    let viewer = token(&site, "victor", &["--role", "viewer"]);
    let operator = token(&site, "olga", &["--role", "operator"]);
    let order = json!({"terminals": ["t1"], "package": package, "type": "kernel"});
    let place = |token: &str| {
        let request = site.request(Method::POST, &site.url("/api/v1/orders"));
        let request = request
            .bearer_auth(token)
            .header("content-type", "application/json");
        let response = request.text(order.to_string()).send().unwrap();
        let status = response.status().as_u16();
        (
            status,
            serde_json::from_str::<Value>(&response.text().unwrap()).unwrap(),
        )
    };
    let (status, problem) = place(&viewer);
    assert_eq!((status, &problem["error"]), (403, &json!("forbidden")));
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("operator or administrator"), "{message}");
    assert_eq!(with(&site, Method::GET, "jobs", &[bearer(&viewer)]).0, 200);
    assert_eq!(place(&operator).0, 202);
    // The refusal is in the record, the token is not.
    let recorded = wait_for("the refused act in the record", || {
        let rows = site
            .database
            .open()
            .texts("SELECT detail FROM events WHERE kind = 'act-refused'");
        (!rows.is_empty()).then_some(rows)
    });
    let detail: Value = serde_json::from_str(&recorded[0]).unwrap();
    let expected = json!({"by": "victor", "role": "viewer", "method": "POST", "path": "/orders"});
    assert_eq!(detail, expected);
}

#[test]
fn a_token_that_has_ended_says_so() {
    let site = Site::start();
    let token = token(&site, "emma", &["--until", "2020-01-01"]);
    let (status, problem) = with(&site, Method::GET, "jobs", &[bearer(&token)]);
    assert_eq!((status, &problem["error"]), (401, &json!("token-ended")));
    let made = site.cli(&["token", "emma", "--until", "soon"]);
    assert!(!made.status.success() && made.stdout.is_empty());
}

#[test]
fn a_session_stands_for_its_token_until_logout_across_a_restart() {
    let mut site = Site::start();
    let (cookie, csrf) = log_in(&site, &site.token);
    let cookie = ("cookie", cookie);
    let (alone, csrf) = (std::slice::from_ref(&cookie), ("x-csrf-token", csrf));
    let (_, session) = with(&site, Method::GET, "session", alone);
    assert_eq!(
        (&session["name"], &session["role"]),
        (&json!("operator"), &json!("administrator"))
    );
    assert_eq!(session["csrf"], csrf.1.as_str());
    assert_eq!(
        session["acts"],
        json!(["view", "operate", "approve", "administer"])
    );
    site.kill_station();
    site.start_station();
    assert_eq!(with(&site, Method::GET, "jobs", alone).0, 200);
    // Another site's page can send the cookie at most, and not read the answer.
    let (status, problem) = with(&site, Method::PUT, "terminals/t9", alone);
    assert_eq!((status, &problem["error"]), (403, &json!("csrf")));
    let both = [cookie.clone(), csrf];
    assert_eq!(with(&site, Method::PUT, "terminals/t9", &both).0, 201);
    assert_eq!(with(&site, Method::POST, "session", &both).0, 401);
    assert_eq!(with(&site, Method::DELETE, "session", &both).0, 204);
    assert_eq!(with(&site, Method::GET, "jobs", &[cookie]).0, 401);
}

#[test]
fn a_session_ends_with_its_token() {
    let site = Site::start();
    let token = token(&site, "second", &[]);
    let (cookie, _) = log_in(&site, &token);
    let cookie = [("cookie", cookie)];
    assert_eq!(with(&site, Method::GET, "jobs", &cookie).0, 200);
    let file = site.path("station/api-tokens");
    let lines = fs::read_to_string(&file).unwrap();
    let kept: Vec<&str> = lines
        .lines()
        .filter(|line| !line.starts_with("second "))
        .collect();
    fs::write(file, kept.join("\n")).unwrap();
    site.hang_up();
    wait_for("the session to end", || {
        (with(&site, Method::GET, "jobs", &cookie).0 == 401).then_some(())
    });
}
