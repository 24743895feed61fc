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
        let (found, problem) = site.post("orders", order.clone());
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
    let (status, placed) = site.post("orders", forced);
    assert_eq!(status, 202);
    assert_eq!(site.made(placed["id"].as_i64().unwrap())["jobs"], 2);
}

#[test]
fn one_order_for_all_terminals_of_the_product() {
    let site = Site::start();
    let (mut one, mut two) = (site.terminal("t1"), site.terminal("t2"));
    let package = site.package("1.1.0");
    let order = json!({"all": true, "package": package, "spread": 100});
    let (status, placed) = site.post("orders", order);
    assert_eq!(status, 202, "{placed}");
    let path = format!("orders/{}", placed["id"]);
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
    let failed = site.get(&format!("jobs?order={}&outcome=failed", placed["id"]));
    assert_eq!(failed["jobs"][0]["terminal"], "t2");
}

#[test]
fn an_order_for_all_says_whom_it_passes_over() {
    let site = Site::start();
    let _terminal = site.terminal("t1");
    site.rest(Method::PUT, "terminals/new", None);
    let package = site.package("1.1.0");
    let (_, placed) = site.post("orders", json!({"all": true, "package": package}));
    let order = site.made(placed["id"].as_i64().unwrap());
    assert_eq!(order["skipped"], json!({"unknown-product": 1}));
    let jobs = site.get(&format!("jobs?order={}", order["id"]));
    assert_eq!(jobs["jobs"][0]["terminal"], "t1");
    let skipped = site.get(&format!("orders/{}/skipped", order["id"]));
    let expected = json!([{"terminal": "new", "reason": "unknown-product", "job": null}]);
    assert_eq!(skipped["skipped"], expected);
    let said = site.cli(&["order", "--all", "--package", "1.1.0"]).stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("1 skipped, unknown-product: new"), "{said}");
}

#[test]
fn a_terminal_gets_no_second_job_while_the_same_one_is_in_progress() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let package = site.package("1.1.0");
    let order = json!({"terminals": ["t1"], "package": package});
    let job = site.order("t1", package);
    let (_, placed) = site.post("orders", order.clone());
    let again = site.made(placed["id"].as_i64().unwrap());
    assert_eq!(
        (&again["jobs"], &again["skipped"]),
        (&json!(0), &json!({"in-progress": 1}))
    );
    let skipped = site.get(&format!("orders/{}/skipped", again["id"]));
    assert_eq!(skipped["skipped"][0]["job"], job);
    let said = site
        .cli(&["order", "--terminal", "t1", "--package", "1.1.0"])
        .stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(
        said.contains(&format!("in-progress: t1 (job {job})")),
        "{said}"
    );
    let said = terminal.take_order();
    terminal.finish(said.job_id, 200, "success");
}

/// Registers terminals `n0`, `n1`, … directly, and returns their ids.
fn registered(site: &Site, count: usize) -> Vec<String> {
    let ids: Vec<String> = (0..count).map(|index| format!("n{index}")).collect();
    let rows: Vec<String> = ids.iter().map(|id| format!("('{id}', 0)")).collect();
    let sql = "INSERT INTO terminals (id, registered_at) VALUES";
    let done = site
        .database
        .open()
        .run(&format!("{sql} {}", rows.join(", ")));
    done.unwrap();
    ids
}

/// Jobs that take a while to be made.
fn many() -> usize {
    match std::env::var_os("DAU_TEST_DATABASE") {
        None => 20_000,
        // A server takes several times as long for each.
        Some(_) => 5_000,
    }
}

#[test]
fn a_large_order_is_taken_at_once_and_skips_what_it_does_not_fit() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let package = site.package("1.1.0");
    let mut ids = registered(&site, 2500);
    ids.extend(["t1", "unheard-of", "n7"].map(str::to_owned));
    let (status, placed) = site.post("orders", json!({"terminals": ids, "package": package}));
    assert_eq!(
        (status, &placed["terminals"]),
        (202, &json!(2502)),
        "{placed}"
    );
    let order = site.made(placed["id"].as_i64().unwrap());
    assert_eq!(
        (&order["state"], &order["jobs"]),
        (&json!("made"), &json!(2501))
    );
    assert_eq!(order["skipped"], json!({"unknown": 1}));
    let job = terminal.take_order().job_id;
    terminal.finish(job, 200, "success");
    wait_for("the result to be counted", || {
        let order = site.get(&format!("orders/{}", placed["id"]));
        (order["counts"] == json!({"ordered": 2500, "success": 1})).then_some(())
    });
    assert_eq!(
        site.rest(Method::DELETE, &format!("packages/{package}"), None)
            .0,
        409
    );
}

#[test]
fn an_order_that_a_killed_station_left_half_made_goes_on() {
    let mut site = Site::start();
    let package = site.package("1.1.0");
    let count = many();
    let ids = registered(&site, count);
    let (_, placed) = site.post("orders", json!({"terminals": ids, "package": package}));
    let path = format!("orders/{}", placed["id"]);
    let begun = wait_for("some jobs", || {
        site.get(&path)["jobs"].as_i64().filter(|jobs| *jobs > 0)
    });
    assert!(begun < count as i64);
    site.kill_station();
    site.start_station();
    let order = site.made(placed["id"].as_i64().unwrap());
    assert_eq!(
        (&order["jobs"], &order["skipped"]),
        (&json!(count), &json!({}))
    );
}

#[test]
fn a_cancelled_order_makes_no_more_jobs_and_ends_those_it_made() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let package = site.package("1.1.0");
    let count = many();
    let mut ids = registered(&site, count);
    ids.insert(0, "a-first".to_owned());
    ids.push("t1".to_owned());
    let order = json!({"terminals": ids, "package": package, "force": true});
    let (_, placed) = site.post("orders", order);
    let path = format!("orders/{}", placed["id"]);
    wait_for("some jobs", || (site.get(&path)["jobs"] != 0).then_some(()));
    let (status, cancelled) = site.post(&format!("{path}/cancel"), json!({}));
    assert_eq!((status, &cancelled["state"]), (202, &json!("cancelling")));
    let order = wait_for("the end", || {
        let order = site.get(&path);
        (order["state"] == "cancelled").then_some(order)
    });
    let jobs = order["jobs"].as_i64().unwrap();
    assert!(jobs < count as i64, "{jobs}");
    // Whoever was sent the order is asked; a terminal that never answers can be given up.
    let (status, _) = site.post(&format!("{path}/cancel"), json!({"abandon": true}));
    assert!(status == 202 || status == 409, "{status}");
    let order = wait_for("all to have ended", || {
        let order = site.get(&path);
        (order["finished"] == jobs).then_some(order)
    });
    assert_eq!(order["jobs"], jobs);
    assert_eq!(site.post(&format!("{path}/cancel"), json!({})).0, 409);
    assert_eq!(site.post("orders/5/cancel", json!({})).0, 404);
    // The terminal is free for the next order.
    let next = site.order("t1", package);
    assert_eq!(terminal.take_order().job_id, next);
}

#[test]
fn the_same_request_is_carried_out_once() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let package = site.package("1.1.0");
    let send = |key: &str, expire: i64| {
        let order = json!({"terminals": ["t1"], "package": package, "expire": expire});
        let request = site
            .request(Method::POST, &site.url("/api/v1/orders"))
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
    assert_eq!(first.0, 202);
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
    assert_eq!(second.0, 202);
    assert_ne!(second.1["id"], first.1["id"]);
    assert_eq!(send(&"x".repeat(256), 1000).0, 400);
}
