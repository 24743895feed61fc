//! Deltas: made by the station, signed by its command or elsewhere, and offered.

use std::fs;
use std::path::{Path, PathBuf};

use attohttpc::Method;
use dau_package::make::{self, DeltaRecipe};
use serde_json::{json, Value};

use crate::site::{signing, wait_for, Site, PRODUCT};

/// Makes two packages that differ in a few bytes.
fn pair(site: &Site) -> [PathBuf; 2] {
    let mut content = vec![0; 300_000];
    openssl::rand::rand_bytes(&mut content).unwrap();
    let old = site.package_of(&site.pki, PRODUCT, "1.0.0", &content);
    content[150_000..150_100].fill(7);
    [old, site.package_of(&site.pki, PRODUCT, "1.1.0", &content)]
}

fn upload(site: &Site, path: &Path) -> Value {
    let (status, package) = site.upload(path);
    assert_eq!(status, 201, "{package}");
    package
}

/// Returns the names of what lies in these folders of the station.
fn left(site: &Site) -> Vec<String> {
    let folders = ["incoming", "unsigned"].map(|name| site.path("station/data").join(name));
    let entries = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    entries
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect()
}

#[test]
fn a_delta_is_made_signed_elsewhere_and_offered_where_it_fits() {
    let site = Site::start();
    let (mut one, mut two) = (site.terminal("t1"), site.terminal("t2"));
    let [old, new] = pair(&site).map(|path| upload(&site, &path));
    let file = site.path("x.delta.dau");
    let output = file.to_str().unwrap();
    let said = site.cli(&["delta", "1.0.0", "1.1.0", "--output", output]);
    assert!(said.status.success(), "{said:?}");
    let delta = site.get("deltas/1");
    assert_eq!(
        (&delta["state"], &delta["package"]),
        (&json!("unsigned"), &Value::Null)
    );
    assert_eq!(delta["size"], fs::metadata(&file).unwrap().len());
    let (status, problem) = site.upload(&file);
    assert_eq!((status, &problem["error"]), (422, &json!("unsigned")));

    make::sign(&file, &signing(&site.pki), &file, &mut |_, _, _| {}).unwrap();
    let package = upload(&site, &file);
    assert_eq!(
        (&package["base"], &package["target"]),
        (&old["manifestSha256"], &new["manifestSha256"])
    );
    let delta = site.get("deltas/1");
    assert_eq!(
        (&delta["state"], &delta["package"]),
        (&json!("signed"), &package["id"])
    );
    assert_eq!(left(&site), [""; 0]);
    assert_eq!(site.rest(Method::GET, "deltas/1/file", None).0, 409);

    one.keep(&[old["manifestSha256"].as_str().unwrap()]);
    let order = json!({"terminals": ["t1", "t2"], "package": new["id"]});
    assert_eq!(site.post("orders", order).0, 202);
    let (delta, whole) = (one.take_order(), two.take_order());
    assert_eq!(json!(whole.file.size), new["size"]);
    assert_eq!(json!(delta.file.size), package["size"]);
    assert_eq!(json!(delta.file.md5), package["fileMd5"]);
    let get = |url: &str| {
        let token = delta.file.token.as_ref().unwrap();
        site.request(Method::GET, url)
            .bearer_auth(token)
            .send()
            .unwrap()
    };
    let response = get(&delta.file.url);
    assert_eq!(response.status().as_u16(), 200);
    assert!(response.bytes().unwrap() == fs::read(&file).unwrap());
    assert_eq!(get(&whole.file.url).status().as_u16(), 403);
    one.finish(delta.job_id, 200, "success");
    let job = site.job(delta.job_id);
    let saved = new["size"].as_i64().unwrap() - package["size"].as_i64().unwrap();
    assert!(saved > 200_000, "{saved}");
    let file =
        json!({"package": package["id"], "delta": true, "size": package["size"], "saved": saved});
    assert_eq!(job["file"], file);

    let order = json!({"terminals": ["t1"], "package": package["id"]});
    let (status, problem) = site.post("orders", order);
    assert_eq!(
        (status, &problem["error"]),
        (409, &json!("unexpected-delta"))
    );
}

#[test]
fn the_stations_command_signs_a_delta() {
    let mut site = Site::prepare("");
    let config = site.path("station/station.toml");
    let more = format!(
        "[deltas]\nsigner = '{}'\nsign_command = '''\nmessage=$(mktemp); cat > $message
openssl pkeyutl -sign -rawin -in $message -inkey {}'''\n",
        site.pki.signer_chain().display(),
        site.pki.signer_key().display()
    );
    fs::write(&config, fs::read_to_string(&config).unwrap() + &more).unwrap();
    site.start_broker();
    site.start_station();
    let [old, new] = pair(&site).map(|path| upload(&site, &path));
    let said = site.cli(&["delta", "1.0.0", "1.1.0", "--json"]);
    assert!(said.status.success(), "{said:?}");
    let package: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(
        (&package["base"], &package["target"], &package["uploadedBy"]),
        (
            &old["manifestSha256"],
            &new["manifestSha256"],
            &json!("operator")
        )
    );
    let ask = || {
        site.post(
            &format!("packages/{}/deltas", new["id"]),
            json!({"base": old["id"]}),
        )
    };
    let (status, delta) = ask();
    assert_eq!((status, &delta["state"]), (200, &json!("signed")));
    assert_eq!(left(&site), [""; 0]);
    // One that was removed is made again.
    let path = format!("packages/{}", package["id"]);
    assert_eq!(site.rest(Method::DELETE, &path, None).0, 204);
    assert_eq!(ask().0, 202);
    wait_for("the delta", || (ask().1["state"] == "signed").then_some(()));
    assert_eq!(site.rest(Method::GET, &path, None).0, 200);
}

#[test]
fn what_cannot_be_made_is_named_and_leaves_nothing_behind() {
    let site = Site::start();
    let [old, new] = ["1.0.0", "1.1.0"].map(|version| site.package(version));
    let (_, foreign) = site.upload(&site.package_by(&site.pki, "other-product", "1.1.0", 1000));
    for (target, base, status, word) in [
        (new, json!(99), 404, "not-found"),
        (99, json!(old), 404, "not-found"),
        (new, json!(new), 409, "type-mismatch"),
        (new, foreign["id"].clone(), 409, "product-mismatch"),
        (new, json!("x"), 400, "bad-request"),
    ] {
        let (found, problem) = site.post(
            &format!("packages/{target}/deltas"),
            json!({ "base": base }),
        );
        assert_eq!(
            (found, &problem["error"]),
            (status, &json!(word)),
            "{problem}"
        );
    }
    // They have nothing in common.
    let said = site.cli(&["delta", &old.to_string(), &new.to_string()]);
    let text = String::from_utf8(said.stderr).unwrap();
    assert!(
        !said.status.success() && text.contains("use that"),
        "{text}"
    );
    assert_eq!(site.get("deltas/1")["state"], "failed");
    assert_eq!(left(&site), [""; 0]);
    assert_eq!(site.rest(Method::DELETE, "deltas/1", None).0, 204);
    assert_eq!(site.get("deltas")["deltas"], json!([]));
}

/// Tells whether a process of this site's deltas runs.
fn works(site: &Site) -> bool {
    let dir = site.path("").display().to_string();
    let processes = fs::read_dir("/proc").unwrap();
    let mut lines =
        processes.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("cmdline")).ok());
    lines.any(|line| line.contains(&dir) && (line.contains("make-delta") || line.contains("hang")))
}

#[test]
fn attack_by_kill_or_removal_ends_the_work_on_a_delta() {
    let mut site = Site::prepare("");
    let config = site.path("station/station.toml");
    // A command that never signs, to catch the work in progress.
    let more = format!(
        "[deltas]\nsigner = '{}'\nsign_command = ': {}/hang; sleep 1000'\n",
        site.pki.signer_chain().display(),
        site.path("").display()
    );
    fs::write(&config, fs::read_to_string(&config).unwrap() + &more).unwrap();
    site.start_broker();
    site.start_station();
    let [old, new] = pair(&site).map(|path| upload(&site, &path));
    let path = format!("packages/{}/deltas", new["id"]);
    let begin = |site: &Site| {
        assert_eq!(site.post(&path, json!({"base": old["id"]})).0, 202);
        wait_for("the command", || {
            (!left(site).is_empty() && works(site)).then_some(())
        });
    };
    begin(&site);
    site.kill_station();
    wait_for("the work to end", || (!works(&site)).then_some(()));
    site.start_station();
    let delta = site.get("deltas/1");
    let message = delta["message"].as_str().unwrap();
    assert!(
        delta["state"] == "failed" && message.contains("ask for it again"),
        "{delta}"
    );
    assert_eq!(left(&site), [""; 0]);

    begin(&site);
    assert_eq!(site.rest(Method::DELETE, "deltas/1", None).0, 204);
    wait_for("the work to end", || {
        (!works(&site) && left(&site).is_empty()).then_some(())
    });
    assert_eq!(site.get("deltas")["deltas"], json!([]));
}

#[test]
fn attack_by_a_command_that_never_signs_ends_after_its_time_and_blocks_no_other_delta() {
    let mut site = Site::prepare("");
    let config = site.path("station/station.toml");
    let more = format!(
        "[deltas]\nsigner = '{}'\nsign_seconds = 1\nsign_command = ': {}/hang; sleep 1000'\n",
        site.pki.signer_chain().display(),
        site.path("").display()
    );
    fs::write(&config, fs::read_to_string(&config).unwrap() + &more).unwrap();
    site.start_broker();
    site.start_station();
    let _ = pair(&site).map(|path| upload(&site, &path));
    for _ in 0..2 {
        let said = site.cli(&["delta", "1.0.0", "1.1.0"]);
        let text = String::from_utf8(said.stderr).unwrap();
        assert!(
            !said.status.success() && text.contains("not signed within 1 seconds"),
            "{text}"
        );
        wait_for("the work to end", || (!works(&site)).then_some(()));
        assert_eq!(left(&site), [""; 0]);
    }
}

#[test]
fn what_waits_for_a_signature_goes_with_its_packages_and_strays_go_at_the_start() {
    let mut site = Site::start();
    let [old, new] = pair(&site).map(|path| upload(&site, &path));
    let output = site.path("x.dau");
    let output = output.to_str().unwrap();
    let said = site.cli(&["delta", "1.0.0", "1.1.0", "--output", output]);
    assert!(said.status.success(), "{said:?}");
    assert_eq!(left(&site).len(), 1);
    // A killed station leaves a file whose delta is gone; no other is touched.
    site.kill_station();
    fs::write(site.path("station/data/unsigned/77.dau"), "").unwrap();
    site.start_station();
    wait_for("the stray to go", || (left(&site).len() == 1).then_some(()));
    assert_eq!(site.get("deltas/1")["state"], "unsigned");

    let path = format!("packages/{}", new["id"]);
    assert_eq!(site.rest(Method::DELETE, &path, None).0, 204);
    assert_eq!(site.get("deltas")["deltas"], json!([]));
    assert_eq!(left(&site), [""; 0]);
    let path = format!("packages/{}", old["id"]);
    assert_eq!(site.rest(Method::GET, &path, None).0, 200);
}

#[test]
fn an_uploaded_delta_needs_neither_base_nor_target_and_is_verified() {
    let site = Site::start();
    let [base, target] = pair(&site);
    let recipe = DeltaRecipe {
        base,
        target,
        minimum_recovery: None,
        threads: 1,
        reserve: 0,
    };
    let file = site.path("x.delta.dau");
    make::delta(&recipe, Some(&signing(&site.pki)), &file, &mut |_, _, _| {}).unwrap();
    let mut content = fs::read(&file).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    let altered = site.path("altered.dau");
    fs::write(&altered, content).unwrap();
    assert_eq!(site.upload(&altered).0, 422);
    let package = upload(&site, &file);
    assert_eq!(package["version"], "1.1.0");
    let name = package["name"].as_str().unwrap();
    let base = package["base"].as_str().unwrap();
    assert_eq!(
        name,
        format!(
            "dau-test-product-1.1.0-kernel-from-{}.delta.dau",
            &base[..8]
        )
    );
    assert_eq!(site.upload(&file).0, 200);
    let said = String::from_utf8(site.cli(&["packages"]).stdout).unwrap();
    assert!(said.contains("kernel delta"), "{said}");
}
