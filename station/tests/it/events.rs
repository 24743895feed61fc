//! The record as a stream.

use std::io::{BufRead, BufReader};
use std::process::Command;

use attohttpc::{Method, Response};
use serde_json::{json, Value};

use crate::site::Site;

/// Follows the record.
fn follow(site: &Site, query: &str, last: Option<i64>) -> Response {
    let url = site.url(&format!("/api/v1/events?{query}"));
    let mut request = site.request(Method::GET, &url).bearer_auth(&site.token);
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    request.send().unwrap()
}

/// Returns the events of a stream, as (type, id, data), until one satisfies `done`.
fn until(stream: Response, done: impl Fn(&Value) -> bool) -> Vec<(String, i64, Value)> {
    assert_eq!(stream.status().as_u16(), 200);
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let (mut kind, mut id) = (String::new(), 0);
    let mut events = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        match line.split_once(": ") {
            Some(("event", text)) => kind = text.to_owned(),
            Some(("id", text)) => id = text.parse().unwrap(),
            Some(("data", text)) => {
                let data: Value = serde_json::from_str(text).unwrap();
                let is_last = done(&data);
                events.push((std::mem::take(&mut kind), id, data));
                if is_last {
                    return events;
                }
            }
            _ => {}
        }
    }
    panic!("the stream ended: {events:?}");
}

fn kinds(events: &[(String, i64, Value)]) -> Vec<&str> {
    let kinds = events.iter().map(|event| event.2["kind"].as_str().unwrap());
    kinds.collect()
}

#[test]
fn whoever_follows_the_record_is_told_at_once_and_goes_on_where_he_was() {
    let site = Site::start();
    let package = site.package("1.1.0");
    let mut terminal = site.terminal("t1");
    let stream = follow(&site, "", None);
    let job = site.order("t1", package);
    terminal.take_order();
    terminal.finish(job, 200, "success");
    let events = until(stream, |data| data["kind"] == "result");
    // Nothing from before it.
    assert_eq!(kinds(&events)[..2], ["ordered", "created"]);
    for pair in events.windows(2) {
        assert_eq!(pair[1].1, pair[0].1 + 1, "{events:?}");
    }
    let order = site.job(job)["order"].clone();
    for (_, id, data) in &events {
        assert_eq!((&data["id"], &data["order"]), (&json!(id), &order));
        assert_eq!(data["package"], package, "{data}");
    }
    let (_, _, created) = &events[1];
    assert_eq!(
        (&created["job"], &created["terminal"]),
        (&json!(job), &json!("t1"))
    );

    // Cut off in the middle, also by a station that was killed.
    let mut site = site;
    site.kill_station();
    site.start_station();
    let middle = events[2].1;
    let rest = until(follow(&site, "", Some(middle)), |data| {
        data["kind"] == "result"
    });
    assert_eq!(rest[..], events[3..]);
    let query = format!("after={middle}&job={job}&kind=result");
    assert_eq!(
        until(follow(&site, &query, None), |_| true)[0],
        *events.last().unwrap()
    );

    let refused = site
        .request(Method::GET, &site.url("/api/v1/events"))
        .send();
    assert_eq!(refused.unwrap().status().as_u16(), 401);
    let url = site.url("/api/v1/events");
    let bad = site.request(Method::GET, &url).bearer_auth(&site.token);
    let bad = bad.header("last-event-id", "x").send().unwrap();
    assert_eq!(bad.status().as_u16(), 400);
}

#[test]
fn who_comes_back_after_events_were_archived_is_told_of_the_gap() {
    let site = Site::start();
    site.package("1.1.0");
    let sealed = Command::new(env!("CARGO_BIN_EXE_dau-station"))
        .args([
            "archive",
            "seal",
            "--before",
            "2100-01-01T00:00:00Z",
            "--config",
        ])
        .arg(site.path("station/station.toml"))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&sealed.stdout),
        "1 archives were written\n",
        "{sealed:?}"
    );
    let stream = follow(&site, "", Some(0));
    let package = site.package("1.2.0");
    let events = until(stream, |data| data["kind"] == "package-uploaded");
    assert_eq!(events[0].0, "gap");
    assert_eq!(events[0].2["first"], events[1].1);
    assert_eq!(events[1].2["package"], package);
}
