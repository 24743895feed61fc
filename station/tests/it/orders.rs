//! Orders in the REST interface.

use attohttpc::Method;
use serde_json::{json, Value};

use crate::site::{wait_for, Site};

const YEAR: i64 = 365 * 24 * 3600;

#[test]
fn an_order_that_does_not_fit_is_refused_with_the_reason() {
    let site = Site::start();
    let _terminal = site.terminal("t1");
    let package = site.package("1.1.0");
    let (_, foreign) = site.upload(&site.package_by(&site.pki, "other-product", "1.1.0", 1000));
    let foreign = foreign["id"].as_i64().unwrap();
    let order = |terminals: Value, package: i64, upgrade_type: &str| {
        json!({"terminals": terminals, "package": package,
            "type": upgrade_type})
    };
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
        (
            json!({"terminals": ["t1"], "package": package, "policy": YEAR + 1}),
            400,
            "bad-request",
            "policy",
        ),
        (
            json!({"terminals": ["t1"], "package": package, "policy": 1_000_000_000_000_i64}),
            400,
            "bad-request",
            "policy",
        ),
        (
            json!({"terminals": ["t1"], "package": package, "policy": YEAR, "spread": 1}),
            400,
            "bad-request",
            "spread",
        ),
        (
            json!({"terminals": ["t1"], "package": package, "budget": 100_000}),
            400,
            "bad-request",
            "budget",
        ),
        (
            json!({"terminals": ["t1"], "package": package, "expire": YEAR + 1}),
            400,
            "bad-request",
            "expire",
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
fn an_order_for_all_says_whom_it_passes_over() {
    let site = Site::start();
    let _terminal = site.terminal("t1");
    site.rest(Method::PUT, "terminals/new", None);
    let package = site.package("1.1.0");
    let (status, created) = site.post("jobs", json!({"all": true, "package": package}));
    assert_eq!(status, 201);
    assert_eq!(created["jobs"][0]["terminal"], "t1");
    let skipped = json!([{"terminal": "new", "reason": "unknown-product"}]);
    assert_eq!(created["skipped"], skipped);
    let said = site.cli(&["order", "--all", "--package", "1.1.0"]).stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("1 skipped, unknown-product: new"), "{said}");
}

#[test]
fn an_order_that_is_there_already_is_answered_with_an_order_that_exists() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let package = site.package("1.1.0");
    let order = json!({"terminals": ["t1"], "package": package});
    let (_, first) = site.post("jobs", order.clone());
    let (status, again) = site.post("jobs", order);
    assert_eq!((status, &again["order"]), (200, &first["order"]));
    assert_eq!(again["jobs"][0]["order"], first["order"]);
    assert_eq!(site.get(&format!("orders/{}", again["order"]))["jobs"], 1);
    let said = terminal.take_order();
    terminal.finish(said.job_id, 200, "success");
}

#[test]
fn the_same_request_is_carried_out_once() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let package = site.package("1.1.0");
    let send = |key: &str, expire: i64| {
        let order = json!({"terminals": ["t1"], "package": package, "expire": expire});
        let request = site
            .request(Method::POST, &site.url("/api/v1/jobs"))
            .bearer_auth(&site.token)
            .try_header("Idempotency-Key", key)
            .unwrap()
            .header("content-type", "application/json");
        let response = request.text(order.to_string()).send().unwrap();
        let status = response.status().as_u16();
        (
            status,
            serde_json::from_str::<Value>(&response.text().unwrap()).unwrap(),
        )
    };
    let first = send("monday", 1000);
    assert_eq!(first.0, 201);
    let job = terminal.take_order().job_id;
    terminal.finish(job, 200, "success");
    // Without the key this would be a second upgrade.
    assert_eq!(send("monday", 1000), first);
    let (status, problem) = send("monday", 2000);
    assert_eq!(
        (status, &problem["error"]),
        (422, &json!("idempotency-key-reused"))
    );
    let second = send("tuesday", 1000);
    assert_eq!(second.0, 201);
    assert_ne!(second.1["order"], first.1["order"]);
    assert_eq!(send(&"x".repeat(256), 1000).0, 400);
}
