//! Attributes, tags and filters, as operators use them.

use attohttpc::Method;
use serde_json::{json, Value};

use crate::site::Site;

fn ids(site: &Site, filter: &str) -> Vec<String> {
    let filter: String = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    let page = site.get(&format!("terminals?filter={filter}"));
    let terminals = page["terminals"].as_array().unwrap().iter();
    let id = |terminal: &Value| terminal["id"].as_str().unwrap().to_owned();
    terminals.map(id).collect()
}

#[test]
fn what_operators_note_of_terminals_finds_them() {
    let site = Site::start();
    for id in ["t1", "t2", "t3"] {
        site.rest(Method::PUT, &format!("terminals/{id}"), None);
    }
    let change = json!({"attributes": {"feeder": "F12", "position": "2"}, "tag": ["hold"]});
    let (status, terminal) = site.rest(Method::PATCH, "terminals/t1", Some(change.clone()));
    assert_eq!(status, 200, "{terminal}");
    assert_eq!(terminal["attributes"], change["attributes"]);
    assert_eq!(terminal["tags"], json!(["hold"]));
    let said = site.cli(&["set", "t2", "feeder=F12", "position=10", "--tag", "检修"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("feeder=F12 position=10 tag:检修"), "{said}");
    assert_eq!(ids(&site, "feeder=F12"), ["t1", "t2"]);
    assert_eq!(ids(&site, "feeder=F12 and not tag:hold"), ["t2"]);
    assert_eq!(ids(&site, "position < 10 or feeder != F12"), ["t1", "t3"]);

    let change = json!({"attributes": {"feeder": null}, "untag": ["hold"]});
    let (_, terminal) = site.rest(Method::PATCH, "terminals/t1", Some(change.clone()));
    assert_eq!(terminal["attributes"], json!({"position": "2"}));
    assert_eq!(terminal["tags"], json!([]));
    let said = site
        .cli(&["terminals", "--filter", "tag:检修", "--json"])
        .stdout;
    let said: Value = serde_json::from_slice(&said).unwrap();
    assert_eq!(said[0]["id"], "t2");
    assert_eq!(said[1], Value::Null);

    let wrong = json!({"attributes": {"position": "x"}});
    let (status, problem) = site.rest(Method::PATCH, "terminals/t1", Some(wrong));
    assert_eq!((status, problem["error"].as_str()), (400, Some("label")));
    let (status, _) = site.rest(Method::PATCH, "terminals/t9", Some(json!({})));
    assert_eq!(status, 404);
    let (status, problem) = site.rest(Method::GET, "terminals?filter=feeder%3D", None);
    assert_eq!((status, problem["error"].as_str()), (400, Some("filter")));
    let said = site.cli(&["terminals", "--filter", "feedr=F1"]).stderr;
    let said = String::from_utf8(said).unwrap();
    assert!(
        said.contains("column 1") && said.contains("feeder"),
        "{said}"
    );
}

#[test]
fn an_order_is_for_those_that_its_filter_finds_when_it_is_placed() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    for id in ["t2", "t3"] {
        site.rest(Method::PUT, &format!("terminals/{id}"), None);
        site.cli(&["set", id, "feeder=F1"]);
    }
    assert!(site.cli(&["set", "t1", "feeder=F1"]).status.success());
    let package = site.package("1.1.0").to_string();
    let filter = "feeder=F1 and not id=t3";
    let said = site.cli(&["order", "--filter", filter, "--package", &package]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("jobs: 1"), "{said}");
    assert!(said.contains("1 skipped, unknown-product: t2"), "{said}");
    terminal.take_order();
    let order = &site.get("orders")["orders"][0];
    assert_eq!(
        (&order["terminals"], &order["filter"]),
        (&json!(2), &json!(filter))
    );

    for (order, status) in [
        (json!({"package": 1, "filter": "feeder=F9"}), 404),
        (json!({"package": 1, "filter": " "}), 400),
        (
            json!({"package": 1, "filter": "feeder=F1", "all": true}),
            400,
        ),
        (json!({"package": 1, "filter": "feeder"}), 400),
    ] {
        let (found, problem) = site.rest(Method::POST, "orders", Some(order.clone()));
        assert_eq!(found, status, "{order}: {problem}");
    }
}

#[test]
fn a_table_is_looked_at_imported_and_exported() {
    let site = Site::start();
    let file = site.path("t.csv");
    let import = |text: &[u8], more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let args = [&["import", file.to_str().unwrap()], more].concat();
        let output = site.cli(&args);
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let table = "\u{feff}id,substation,feeder,tags\r\nt1,无锡,F1,hold\r\nt2,无锡,F2,\r\n";
    let (status, said) = import(table.as_bytes(), &["--dry-run"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("t1 (new): feeder - -> F1"), "{said}");
    assert!(said.contains("2 terminals would be added"), "{said}");
    assert_eq!(ids(&site, "").len(), 0);
    // As Excel writes it in China: 无锡 in GB18030.
    let bytes =
        b"id,substation,feeder,tags\r\nt1,\xce\xde\xce\xfd,F1,hold\r\nt2,\xce\xde\xce\xfd,F2,\r\n";
    let (status, said) = import(bytes, &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("encoding=gb18030"), "{said}");
    assert_eq!(import(bytes, &["--encoding", "gb18030"]).0, Some(0));
    assert_eq!(ids(&site, "substation=无锡 and tag:hold"), ["t1"]);
    assert!(import(table.as_bytes(), &[]).1.contains("2 unchanged"));

    let exported = site.cli(&["export", "--filter", "substation=无锡"]).stdout;
    let text = String::from_utf8(exported.clone()).unwrap();
    assert!(text.starts_with("id,region,substation,feeder,") && text.contains("t1,,无锡,F1,"));
    assert!(import(&exported, &[]).1.contains("2 unchanged"));
    let (status, said) = import(b"id,feeder,position\nt1,F9,\nt2,,x\n", &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("nothing was imported: line 3: position"),
        "{said}"
    );
    let (status, said) = import(b"id,position\nt2,x\n", &["--dry-run"]);
    assert_eq!(status, Some(1), "{said}");
    assert_eq!(ids(&site, "feeder=F9").len(), 0);
}
