//! Packages over HTTPS.

use std::fs;
use std::io::Read;

use attohttpc::{Method, Response};
use dau_protocol::File;
use serde_json::json;

use crate::site::{wait_for, Site, PRODUCT};
use crate::terminal::Terminal;

/// A site with an ordered package, its content, and its order.
struct Ordered {
    site: Site,
    terminal: Terminal,
    job: i64,
    content: Vec<u8>,
    file: File,
}

fn ordered(config: &str, size: usize) -> Ordered {
    let site = Site::start_with(config);
    let mut terminal = site.terminal("t1");
    let path = site.package_file("1.1.0", size);
    let (_, package) = site.upload(&path);
    let job = site.order("t1", package["id"].as_i64().unwrap());
    let file = terminal.take_order().file;
    Ordered {
        site,
        terminal,
        job,
        content: fs::read(path).unwrap(),
        file,
    }
}

impl Ordered {
    fn send(&self, method: Method, headers: &[(&'static str, &str)]) -> Response {
        let mut request = self
            .site
            .request(method, &self.file.url)
            .bearer_auth(self.file.token.as_ref().unwrap());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().unwrap()
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

#[test]
fn a_package_is_served_whole_and_in_parts() {
    let ordered = ordered("", 300_000);
    let content = &ordered.content;
    let size = content.len();
    let etag = header(&ordered.send(Method::HEAD, &[]), "etag").to_owned();
    assert_eq!(etag.len(), 66, "{etag}");

    let last = size - 1;
    let cases = [
        (None, 200, 0..size),
        (Some("bytes=0-".to_owned()), 206, 0..size),
        (Some("bytes=100000-".to_owned()), 206, 100_000..size),
        (Some("bytes=10-19".to_owned()), 206, 10..20),
        (Some(format!("bytes={last}-")), 206, last..size),
        (Some("bytes=-5".to_owned()), 206, size - 5..size),
        (Some("bytes=0-1,5-6".to_owned()), 200, 0..size),
        (Some("furlongs=1-2".to_owned()), 200, 0..size),
    ];
    let mut served = 0;
    for (range, status, expected) in cases {
        let headers: Vec<_> = range
            .iter()
            .map(|range| ("range", range.as_str()))
            .collect();
        let response = ordered.send(Method::GET, &headers);
        assert_eq!(response.status().as_u16(), status, "{range:?}");
        assert_eq!(header(&response, "etag"), etag);
        assert_eq!(header(&response, "accept-ranges"), "bytes");
        assert_eq!(
            header(&response, "content-length"),
            expected.len().to_string()
        );
        if status == 206 {
            let content_range = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
            assert_eq!(header(&response, "content-range"), content_range);
        }
        served += expected.len();
        assert!(response.bytes().unwrap() == content[expected], "{range:?}");
    }

    let beyond = format!("bytes={size}-");
    let response = ordered.send(Method::GET, &[("range", &beyond)]);
    assert_eq!(response.status().as_u16(), 416);
    assert_eq!(
        header(&response, "content-range"),
        format!("bytes */{size}")
    );

    let response = ordered.send(Method::GET, &[("if-none-match", &etag)]);
    assert_eq!(response.status().as_u16(), 304);
    let resume = |tag| ordered.send(Method::GET, &[("range", "bytes=5-9"), ("if-range", tag)]);
    assert_eq!(resume(&etag).status().as_u16(), 206);
    assert_eq!(resume("\"another file\"").status().as_u16(), 200);

    let response = ordered.send(Method::HEAD, &[("range", "bytes=1-2")]);
    assert_eq!(header(&response, "content-length"), "2");
    assert_eq!(response.bytes().unwrap(), Vec::<u8>::new());

    // 5 bytes of the resumption; the unread rest of the last whole answer may have been sent or
    // not.
    served += 5;
    wait_for(
        &format!("{served} to {} bytes to be counted", served + size),
        || {
            let counted = ordered.site.job(ordered.job)["bytesServed"]
                .as_u64()
                .unwrap() as usize;
            eprintln!("counted: {counted}");
            (served..=served + size).contains(&counted).then_some(())
        },
    );
}

#[test]
fn bytes_are_counted_once_for_a_resumed_download() {
    let ordered = ordered("", 4_000_000);
    let size = ordered.content.len();
    for range in ["bytes=0-999999", "bytes=1000000-"] {
        let response = ordered.send(Method::GET, &[("range", range)]);
        assert_eq!(response.status().as_u16(), 206);
        response.bytes().unwrap();
    }
    wait_for("the bytes to be counted", || {
        (ordered.site.job(ordered.job)["bytesServed"] == size).then_some(())
    });
    let record = ordered.site.job(ordered.job)["events"].clone();
    let firsts: Vec<_> = record
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "download")
        .map(|event| event["detail"]["first"].clone())
        .collect();
    assert_eq!(firsts, [json!(0), json!(1_000_000)]);
}

#[test]
fn a_token_opens_its_own_package_only() {
    let mut ordered = ordered("", 1000);
    let site = &ordered.site;
    let other = site.upload(&site.package_file("1.2.0", 1000)).1;
    let other_url = format!(
        "/packages/{}/{}",
        other["id"],
        other["name"].as_str().unwrap()
    );
    let own = ordered.file.url.clone();
    let token = ordered.file.token.clone().unwrap();
    let tampered = format!("0{}", &token[1..]);
    let tampered = if tampered == token {
        format!("1{}", &token[1..])
    } else {
        tampered
    };
    let status = |url: &str, token: Option<&str>| {
        let mut request = site.request(Method::GET, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().unwrap();
        let challenge = header(&response, "www-authenticate") == "Bearer";
        let status = response.status().as_u16();
        assert_eq!(challenge, status == 401);
        status
    };
    let unknown = own.replace("/packages/1/", "/packages/99/");
    let misnamed = own.replace("1.1.0", "9.9.9");
    let cases = [
        (own.as_str(), Some(token.as_str()), 200),
        (&own, None, 401),
        (&own, Some(""), 401),
        (&own, Some(&tampered), 401),
        (&own, Some(&site.token), 401),
        (&format!("{own}?token={token}"), None, 401),
        (&site.url(&other_url), Some(&token), 403),
        (&unknown, Some(&token), 403),
        (&misnamed, Some(&token), 404),
    ];
    for (url, token, expected) in cases {
        assert_eq!(status(url, token), expected, "{url} {token:?}");
    }
    // REST is for operators.
    assert_eq!(status(&site.url("/api/v1/jobs"), Some(&token)), 401);
    // The token expires with the job.
    ordered.terminal.finish(ordered.job, 200, "success");
    assert_eq!(status(&own, Some(&token)), 401);
}

#[test]
fn a_token_expires() {
    let ordered = ordered("[downloads]\ntoken_seconds = 1", 1000);
    wait_for("the token to expire", || {
        (ordered.send(Method::GET, &[]).status().as_u16() == 401).then_some(())
    });
}

/// Begins a download without a range and reads a little: it stays in progress while nobody reads.
fn begin(ordered: &Ordered, file: &File) -> Response {
    let request = ordered.site.request(Method::GET, &file.url);
    let mut begun = request
        .bearer_auth(file.token.as_ref().unwrap())
        .send()
        .unwrap();
    assert_eq!(begun.status().as_u16(), 200);
    begun.read_exact(&mut [0; 1000]).unwrap();
    begun
}

#[test]
fn downloads_above_the_cap_are_told_to_come_back() {
    let config = "[downloads]\nconcurrent = 1\nretry_after_seconds = 7";
    let ordered = ordered(config, 30_000_000);
    let mut other = ordered.site.terminal("t2");
    ordered.site.order("t2", 1);
    let first = begin(&ordered, &other.take_order().file);
    let turned_away = ordered.send(Method::GET, &[]);
    assert_eq!(turned_away.status().as_u16(), 503);
    let wait: u64 = header(&turned_away, "retry-after").parse().unwrap();
    assert!((7..=14).contains(&wait), "{wait}");
    // HEAD requests are answered all the same.
    assert_eq!(ordered.send(Method::HEAD, &[]).status().as_u16(), 200);
    drop(first);
    let response = wait_for("the place to be free", || {
        Some(ordered.send(Method::GET, &[])).filter(|response| response.is_success())
    });
    assert!(response.bytes().unwrap() == ordered.content);
}

#[test]
fn attack_one_terminal_cannot_take_all_places() {
    let ordered = ordered("[downloads]\nconcurrent = 4\nper_terminal = 2", 30_000_000);
    let mut other = ordered.site.terminal("t2");
    ordered.site.order("t2", 1);
    let mut greedy: Vec<Response> = (0..6).map(|_| begin(&ordered, &ordered.file)).collect();
    let file = other.take_order().file;
    let _one = begin(&ordered, &file);
    let _two = begin(&ordered, &file);
    // The newest ones go on: one of them could be a resumption after a broken connection.
    let newest = greedy.pop().unwrap();
    assert!(newest.bytes().unwrap() == ordered.content[1000..]);
    let oldest = greedy.swap_remove(0);
    let rest = oldest.bytes();
    assert!(rest.is_err() || rest.unwrap().len() < ordered.content.len() - 1000);
}

#[test]
fn a_terminal_that_resumes_displaces_its_own_dead_connection() {
    let ordered = ordered("[downloads]\nconcurrent = 1", 30_000_000);
    let _dead = begin(&ordered, &ordered.file);
    let resumed = ordered.send(Method::GET, &[("range", "bytes=1000-")]);
    assert_eq!(resumed.status().as_u16(), 206);
    assert!(resumed.bytes().unwrap() == ordered.content[1000..]);
}

#[test]
fn a_rate_limit_changes_no_byte() {
    let ordered = ordered("[downloads]\nbytes_per_second = 2000000", 500_000);
    let response = ordered.send(Method::GET, &[]);
    assert!(response.bytes().unwrap() == ordered.content);
}

#[test]
fn attack_a_package_that_was_cut_short_on_disk_is_not_served() {
    let ordered = ordered("", 1000);
    let stored = ordered.site.path("station/data/packages");
    let stored = fs::read_dir(stored)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let content = fs::read(&stored).unwrap();
    fs::write(&stored, &content[..content.len() - 512]).unwrap();
    assert_eq!(ordered.send(Method::GET, &[]).status().as_u16(), 500);
    // Uploading it again repairs it.
    let (status, _) = ordered
        .site
        .upload(&ordered.site.path(&format!("{PRODUCT}-1.1.0.dau")));
    assert_eq!(status, 200);
    assert!(ordered.send(Method::GET, &[]).bytes().unwrap() == ordered.content);
}
