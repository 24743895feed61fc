//! Lists, the description of the REST interface, and the page.

use std::fs;

use attohttpc::Method;
use serde_json::Value;

use crate::site::Site;

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
    let page = site.get("orders?limit=3");
    let orders = |page: &Value| -> Vec<i64> {
        let orders = page["orders"].as_array().unwrap();
        orders
            .iter()
            .map(|order| order["id"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(orders(&page).len(), 3);
    let rest = site.get(&format!("orders?before={}", page["next"]));
    assert_eq!(orders(&rest).len(), 2);
    assert!(orders(&page)[2] > orders(&rest)[0]);
    for path in [
        "orders?limit=0",
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
        "orders/5/skipped",
        "nothing",
    ] {
        let (status, problem) = site.rest(Method::GET, path, None);
        assert_eq!(status, 404, "{path}: {problem}");
    }
}

/// The description that is served, that is printed and that is kept are one, and every route it
/// names is there.
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
            let open =
                path.contains("/healthz") || path.ends_with("/livez") || path.ends_with("/readyz");
            let expected = if open { 200 } else { 401 };
            assert_eq!(response.status().as_u16(), expected, "{method} {path}");
            routes += 1;
        }
    }
    assert!(routes >= 12, "{routes}");
}

#[test]
fn the_page_comes_without_a_token_and_holds_nothing_secret() {
    let site = Site::start();
    for (path, content_type) in [
        ("/", "text/html"),
        ("/page/main.js", "text/javascript"),
        ("/page/page.css", "text/css"),
        ("/page/favicon.svg", "image/svg+xml"),
        ("/page/words.zh.json", "application/json"),
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
        let again = site
            .request(Method::GET, &site.url(path))
            .header("if-none-match", field("etag"));
        assert_eq!(again.send().unwrap().status().as_u16(), 304, "{path}");
        let text = response.text().unwrap();
        // Everything from here: the page works without the Internet.
        let text = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("://"), "{path}");
    }
}
