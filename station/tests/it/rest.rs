//! The REST interface.

use std::fs;

use attohttpc::Method;
use dau_package::make::{Pki, PkiOptions};
use serde_json::{json, Value};

use crate::site::{wait_for, Site, PRODUCT};

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
        "orders/1",
    ] {
        for token in [None, Some(""), Some("wrong"), Some(&site.token[1..])] {
            assert_eq!(status(Method::GET, path, token), 401, "{path} {token:?}");
        }
    }
    for path in ["packages", "jobs", "jobs/1/cancel"] {
        assert_eq!(status(Method::POST, path, None), 401, "{path}");
    }
    assert_eq!(status(Method::GET, "healthz", None), 200);
    assert_eq!(status(Method::GET, "openapi.json", None), 200);
}

#[test]
fn a_package_is_verified_before_it_is_taken_in() {
    let site = Site::start();
    let good = site.package_file("1.1.0", 100_000);
    let (status, package) = site.upload(&good);
    assert_eq!(status, 201, "{package}");
    assert_eq!(package["name"], "dau-test-product-1.1.0-kernel.dau");
    assert_eq!(package["uploadedBy"], "operator");
    assert_eq!(package["size"], fs::metadata(&good).unwrap().len());
    let (status, again) = site.upload(&good);
    assert_eq!((status, &again), (200, &package));

    let stranger = Pki::create(&site.path("stranger"), &PkiOptions::default()).unwrap();
    let by_stranger = site.package_by(&stranger, PRODUCT, "1.2.0", 1000);
    let content = fs::read(&good).unwrap();
    let altered = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut content = content.clone();
        change(&mut content);
        let path = site.path(name);
        fs::write(&path, content).unwrap();
        path
    };
    let cases = [
        (by_stranger, "signer-unknown"),
        (
            altered("flipped", &|bytes| bytes[50_000] ^= 1),
            "md5-mismatch",
        ),
        (altered("cut", &|bytes| bytes.truncate(60_000)), "truncated"),
        (
            altered("longer", &|bytes| bytes.extend([1; 20_480])),
            "trailing-bytes",
        ),
        (altered("empty", &|bytes| bytes.clear()), "truncated"),
        (
            altered("text", &|bytes| *bytes = vec![b'x'; 2048]),
            "malformed",
        ),
    ];
    for (path, word) in cases {
        let (status, problem) = site.upload(&path);
        assert_eq!(
            (status, &problem["error"]),
            (422, &json!(word)),
            "{problem}"
        );
    }
    assert_eq!(site.get("packages")["packages"], json!([package]));
    let kept = fs::read_dir(site.path("station/data/packages"))
        .unwrap()
        .count();
    let left = fs::read_dir(site.path("station/data/incoming"))
        .unwrap()
        .count();
    assert_eq!((kept, left), (1, 0));
}

#[test]
fn a_package_above_the_limit_is_refused() {
    let site = Site::start_with("max_package_bytes = 50000");
    let (status, problem) = site.upload(&site.package_file("1.1.0", 100_000));
    assert_eq!((status, &problem["error"]), (413, &json!("too-large")));
}

#[test]
fn an_order_that_does_not_fit_is_refused_with_the_reason() {
    let site = Site::start();
    let _terminal = site.terminal("t1");
    let package = site.package("1.1.0");
    let (_, foreign) = site.upload(&site.package_by(&site.pki, "other-product", "1.1.0", 1000));
    let foreign = foreign["id"].as_i64().unwrap();
    let order = |terminals: Value, package: i64, upgrade_type: &str| json!({"terminals": terminals, "package": package, "type": upgrade_type});
    let cases = [
        (
            order(json!(["t1"]), 99, "kernel"),
            404,
            "not-found",
            "package 99",
        ),
        (
            order(json!(["t1", "t9"]), package, "kernel"),
            404,
            "not-found",
            "t9",
        ),
        (
            order(json!(["t1"]), foreign, "kernel"),
            409,
            "product-mismatch",
            "t1",
        ),
        (
            order(json!(["t1"]), package, "full"),
            409,
            "type-mismatch",
            "kernel",
        ),
        (
            order(json!(["t1"]), package, "patch"),
            400,
            "bad-request",
            "patch",
        ),
        (
            order(json!([]), package, "kernel"),
            400,
            "bad-request",
            "terminals",
        ),
        (
            order(json!(["a/b"]), package, "kernel"),
            400,
            "bad-request",
            "a/b",
        ),
        (
            json!({"all": true, "package": foreign}),
            404,
            "not-found",
            "other-product",
        ),
        (
            json!({"all": true, "terminals": ["t1"], "package": package}),
            400,
            "bad-request",
            "all",
        ),
        (json!({"terminals": ["t1"]}), 400, "bad-request", "package"),
        (
            json!({"terminals": ["t1"], "package": package, "typo": 1}),
            400,
            "bad-request",
            "typo",
        ),
        (
            json!({"terminals": ["t1"], "package": package, "policy": -1}),
            400,
            "bad-request",
            "policy",
        ),
    ];
    for (order, status, word, named) in cases {
        let (found, problem) = site.post("jobs", order.clone());
        assert_eq!(
            (found, &problem["error"]),
            (status, &json!(word)),
            "{order}: {problem}"
        );
        let message = problem["message"].as_str().unwrap();
        assert!(message.contains(named), "{order}: {message}");
    }
    assert_eq!(site.get("jobs")["jobs"], json!([]));
    // The operator may know better; the terminal judges all the same.
    let forced =
        json!({"terminals": ["t1", "t9"], "package": foreign, "type": "full", "force": true});
    assert_eq!(site.post("jobs", forced).0, 201);
}

#[test]
fn one_order_for_all_terminals_of_the_product() {
    let site = Site::start();
    let (mut one, mut two) = (site.terminal("t1"), site.terminal("t2"));
    let package = site.package("1.1.0");
    let order = json!({"all": true, "package": package, "spread": 100});
    let (status, created) = site.post("jobs", order);
    assert_eq!(status, 201, "{created}");
    let path = format!("orders/{}", created["order"]);
    let (first, second) = (one.take_order(), two.take_order());
    assert_eq!((first.policy, second.policy), (0, 50));
    wait_for("both to be accepted", || {
        (site.get(&path)["counts"] == json!({"accepted": 2})).then_some(())
    });
    one.finish(first.job_id, 200, "success");
    two.finish(second.job_id, 500, "failed");
    let summary = site.get(&path);
    assert_eq!(summary["counts"], json!({"failed": 1, "success": 1}));
    assert_eq!(
        (&summary["jobs"], &summary["finished"]),
        (&json!(2), &json!(2))
    );
    let failed = site.get(&format!("jobs?order={}&outcome=failed", created["order"]));
    assert_eq!(failed["jobs"][0]["terminal"], "t2");
}

#[test]
fn lists_come_in_pages() {
    let site = Site::start();
    for index in 0..5 {
        let path = format!("terminals/p{index}");
        assert_eq!(site.rest(Method::PUT, &path, None).0, 201);
        assert_eq!(site.rest(Method::PUT, &path, None).0, 204);
    }
    let package = site.package("1.1.0");
    let jobs: Vec<i64> = (0..5)
        .map(|index| site.order(&format!("p{index}"), package))
        .collect();
    let mut terminals = Vec::new();
    let mut path = "terminals?limit=2".to_owned();
    loop {
        let page = site.get(&path);
        for terminal in page["terminals"].as_array().unwrap() {
            terminals.push(terminal["id"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => path = format!("terminals?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(terminals, ["p0", "p1", "p2", "p3", "p4"]);
    let page = site.get("jobs?limit=3");
    let ids = |page: &Value| -> Vec<i64> {
        let jobs = page["jobs"].as_array().unwrap();
        jobs.iter().map(|job| job["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids(&page), [jobs[4], jobs[3], jobs[2]]);
    let page = site.get(&format!("jobs?limit=3&before={}", page["next"]));
    assert_eq!(ids(&page), [jobs[1], jobs[0]]);
    assert_eq!(ids(&site.get("jobs?terminal=p3")), [jobs[3]]);
    assert_eq!(ids(&site.get("jobs?state=finished")), [0; 0]);
    for path in [
        "jobs?typo=1",
        "jobs?limit=x",
        "terminals?limit=-1",
        "jobs/x",
        "packages/x",
    ] {
        assert_eq!(site.rest(Method::GET, path, None).0, 400, "{path}");
    }
    for path in [
        "jobs/1",
        "packages/77",
        "terminals/nobody",
        "orders/5",
        "nothing",
    ] {
        let (status, problem) = site.rest(Method::GET, path, None);
        assert_eq!(status, 404, "{path}: {problem}");
    }
}

#[test]
fn a_package_goes_when_no_job_needs_it() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let path = site.package_file("1.1.0", 1000);
    let package = site.upload(&path).1["id"].as_i64().unwrap();
    let job = site.order("t1", package);
    let remove = || site.rest(Method::DELETE, &format!("packages/{package}"), None);
    assert_eq!(remove().0, 409);
    terminal.take_order();
    terminal.finish(job, 200, "success");
    assert_eq!(remove().0, 204);
    assert_eq!(remove().0, 404);
    assert_eq!(site.get("packages")["packages"], json!([]));
    assert_eq!(site.job(job)["version"], "1.1.0");
    assert_eq!(
        fs::read_dir(site.path("station/data/packages"))
            .unwrap()
            .count(),
        0
    );
    let (status, again) = site.upload(&path);
    assert_eq!((status, again["id"].as_i64().unwrap()), (201, package));
}

/// The description that is served, that is printed and that is kept are one, and every route it names is there.
#[test]
fn the_description_is_what_is_served() {
    let site = Site::start();
    let served = site.get("openapi.json");
    let printed: Value = serde_json::from_slice(&site.cli(&["openapi"]).stdout).unwrap();
    assert_eq!(served, printed);
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api/openapi.json");
    let kept: Value = serde_json::from_str(&fs::read_to_string(kept).unwrap()).unwrap();
    assert!(
        served == kept,
        "run: dau-station openapi > docs/api/openapi.json"
    );
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut routes = 0;
    for (path, methods) in served["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let url = site.url(&path.replace("{id}", "1"));
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let response = site.request(method.clone(), &url).send().unwrap();
            let open = path.ends_with("healthz");
            let expected = if open { 200 } else { 401 };
            assert_eq!(response.status().as_u16(), expected, "{method} {path}");
            routes += 1;
        }
    }
    assert!(routes >= 12, "{routes}");
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
    let pid = nix::unistd::Pid::from_raw(site.station_pid() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    wait_for("the new token to count", || {
        (status(token.trim()) == 200).then_some(())
    });
    assert_eq!(status(&site.token), 401);
}

#[test]
fn two_stations_do_not_share_one_directory() {
    let site = Site::start();
    let config = site.path("station/station.toml");
    let second = site.cli(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(2));
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(text.contains("in use by another dau-station"), "{text}");
}

#[test]
fn the_page_comes_without_a_token_and_holds_nothing_secret() {
    let site = Site::start();
    for (path, content_type) in [
        ("/", "text/html"),
        ("/page.js", "text/javascript"),
        ("/page.css", "text/css"),
    ] {
        let response = site.request(Method::GET, &site.url(path)).send().unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        let field = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert!(field("content-type").starts_with(content_type), "{path}");
        let policy = field("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        let text = response.text().unwrap();
        // Everything from here: the page works without the Internet.
        assert!(!text.contains("://"), "{path}");
    }
}
