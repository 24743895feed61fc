//! Packages in the REST interface.

use std::fs;

use attohttpc::Method;
use dau_package::make::{Pki, PkiOptions};
use serde_json::json;

use crate::site::{Site, PRODUCT};

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

#[test]
fn a_package_whose_signer_was_revoked_later_cannot_be_ordered() {
    let site = Site::start();
    let _terminal = site.terminal("t1");
    let package = site.package("1.1.0");
    let fingerprint = site.get("packages")["packages"][0]["signerFingerprint"].clone();
    let revoked = format!("certificate {}\n", fingerprint.as_str().unwrap());
    fs::write(site.path("pki/keyring/revoked"), revoked).unwrap();
    let order = json!({"terminals": ["t1"], "package": package, "force": true});
    let (status, problem) = site.post("orders", order);
    assert_eq!((status, &problem["error"]), (409, &json!("signer-revoked")));
    assert_eq!(site.get("jobs")["jobs"], json!([]));
}

#[test]
fn a_keyring_that_cannot_be_read_is_named() {
    let site = Site::start();
    let package = site.package_file("1.1.0", 1000);
    fs::write(site.path("pki/keyring/broken.pem"), "nonsense").unwrap();
    let (status, problem) = site.upload(&package);
    assert_eq!((status, &problem["error"]), (503, &json!("keyring")));
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("broken.pem"), "{message}");
}
