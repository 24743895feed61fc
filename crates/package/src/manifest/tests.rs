use serde_json::{json, Value};

use super::*;

/// A manifest of a full package, as another program might write it.
fn valid() -> Value {
    json!({
        "format": 1,
        "product": "qemu-aarch64",
        "version": "1.1.0",
        "kind": "full",
        "created": "2026-01-31T12:00:00Z",
        "rollback_index": 7,
        "payloads": [
            {
                "name": "kernel.itb", "type": "kernel", "size": 700, "sha256": "a".repeat(64),
                "image_size": 700, "image_sha256": "a".repeat(64),
            },
            {
                "name": "rootfs.img.zst", "type": "rootfs-image", "size": 513, "sha256": "b".repeat(64),
                "image_size": 8192, "image_sha256": "c".repeat(64),
            },
        ],
        // Two headers, two blocks each, and the end.
        "system": { "size": 512 + 1024 + 512 + 1024 + 1024, "md5": "d".repeat(32), "sha256": "e".repeat(64) },
    })
}

fn parse(value: &Value) -> Result<Manifest, ManifestError> {
    Manifest::from_json(value.to_string().as_bytes())
}

#[test]
fn a_manifest_survives_being_written() {
    let manifest = parse(&valid()).unwrap();
    let bytes = manifest.to_json();
    assert_eq!(Manifest::from_json(&bytes).unwrap(), manifest);
    assert!(bytes.starts_with(b"{\n  \"format\": 1,\n  \"product\": \"qemu-aarch64\",\n"));
    assert!(bytes.ends_with(b"}\n") && !bytes.ends_with(b"\n\n"));
    assert_eq!(manifest.created_unix().unwrap(), 1_769_860_800);
    assert_eq!(manifest.image_size(), 8892);
    assert_eq!(manifest.kernel().unwrap().name, "kernel.itb");
    assert_eq!(
        manifest.rootfs().unwrap().payload_type,
        PayloadType::RootfsImage
    );
}

#[test]
fn remarks_of_a_later_packager_are_ignored_at_the_top_only() {
    let mut value = valid();
    value["remarks"] = json!({"ticket": 1234});
    parse(&value).unwrap();
    for part in ["/payloads/0", "/system"] {
        let mut value = valid();
        value.pointer_mut(part).unwrap()["encrypted"] = json!(true);
        assert!(parse(&value).is_err(), "{part}");
    }
}

#[test]
fn every_kind_has_its_payloads() {
    let mut value = valid();
    value["kind"] = json!("kernel");
    value["payloads"].as_array_mut().unwrap().truncate(1);
    value["system"]["size"] = json!(512 + 1024 + 1024);
    assert_eq!(parse(&value).unwrap().kind, Kind::Kernel);

    let mut value = valid();
    value["kind"] = json!("rootfs");
    value["payloads"].as_array_mut().unwrap().remove(0);
    value["system"]["size"] = json!(10240);
    assert_eq!(parse(&value).unwrap().kind, Kind::Rootfs);

    let recovery = json!({
        "name": "recovery.itb", "type": "recovery", "size": 600, "sha256": "f".repeat(64),
        "image_size": 600, "image_sha256": "f".repeat(64),
    });
    let mut value = valid();
    value["payloads"].as_array_mut().unwrap().push(recovery);
    value["system"]["size"] = json!(10240);
    let full = parse(&value).unwrap();
    assert_eq!(full.kind, Kind::Full);
    assert!(full.recovery().is_some() && full.rootfs().unwrap().name == "rootfs.img.zst");

    value["payloads"].as_array_mut().unwrap().drain(..2);
    value["kind"] = json!("recovery");
    let recovery = parse(&value).unwrap();
    assert_eq!(recovery.kind, Kind::Recovery);
    assert!(recovery.kernel().is_none() && recovery.rootfs().is_none());
    assert!(!recovery.kind.has_kernel() && !recovery.kind.has_rootfs());
}

#[test]
fn a_recovery_travels_alone_or_with_both_others() {
    for left_out in ["kernel", "rootfs-image"] {
        let mut value = valid();
        let payloads = value["payloads"].as_array_mut().unwrap();
        payloads.push(json!({
            "name": "recovery.itb", "type": "recovery", "size": 600, "sha256": "f".repeat(64),
            "image_size": 600, "image_sha256": "f".repeat(64),
        }));
        payloads.retain(|payload| payload["type"] != left_out);
        value["system"]["size"] = json!(10240);
        let error = parse(&value).unwrap_err();
        assert_eq!(error.field, "payloads", "{left_out}");
    }
}

#[test]
fn a_demand_for_a_recovery_os_is_a_version() {
    let mut value = valid();
    value["minimum_recovery"] = json!("1.1.0");
    let manifest = parse(&value).unwrap();
    assert_eq!(manifest.minimum_recovery.as_deref(), Some("1.1.0"));
    assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), manifest);
    value["minimum_recovery"] = json!("../1");
    assert_eq!(parse(&value).unwrap_err().field, "minimum_recovery");
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let long = "v".repeat(65);
    let cases = [
        ("/format", json!(0), "format"),
        ("/format", json!(2), "format: 2 is not supported"),
        ("/format", json!("1"), "manifest"),
        ("/product", json!(""), "product"),
        ("/product", json!("a b"), "product"),
        ("/product", json!("../x"), "product"),
        ("/product", json!(".x"), "product"),
        ("/version", json!("1\n2"), "version"),
        ("/version", json!(long), "version"),
        ("/version", json!("版本"), "version"),
        ("/kind", json!("patch"), "manifest"),
        (
            "/kind",
            json!("kernel"),
            "kind: says kernel, but the payloads make it full",
        ),
        ("/created", json!("2026-01-31"), "created"),
        ("/created", json!("2026-02-30T12:00:00Z"), "created"),
        ("/created", json!("2026-01-31T12:00:00+08:00"), "created"),
        ("/created", json!("1969-12-31T23:59:59Z"), "created"),
        ("/rollback_index", json!(-1), "manifest"),
        ("/rollback_index", json!(18446744073709551616.0), "manifest"),
        ("/payloads", json!([]), "payloads"),
        (
            "/payloads/0/name",
            json!("../kernel.itb"),
            "payloads[0].name",
        ),
        ("/payloads/0/type", json!("bootloader"), "manifest"),
        ("/payloads/1/type", json!("rootfs-archive"), "manifest"),
        ("/payloads/0/type", json!("rootfs-image"), "payloads"),
        ("/payloads/0/size", json!(0), "payloads[0].size"),
        (
            "/payloads/0/size",
            json!(701),
            "payloads[0]: a kernel is stored as it is",
        ),
        (
            "/payloads/0/sha256",
            json!("f".repeat(64)),
            "payloads[0]: a kernel is stored as it is",
        ),
        ("/payloads/1/size", json!(u64::MAX), "payloads[1].size"),
        ("/payloads/1/size", json!(MAX_SYSTEM_TAR), "system.size"),
        (
            "/payloads/1/sha256",
            json!("B".repeat(64)),
            "payloads[1].sha256",
        ),
        (
            "/payloads/1/sha256",
            json!("b".repeat(63)),
            "payloads[1].sha256",
        ),
        (
            "/payloads/1/image_size",
            json!(u64::MAX),
            "payloads[1].image_size",
        ),
        (
            "/payloads/1/image_sha256",
            json!("é".repeat(32)),
            "payloads[1].image_sha256",
        ),
        ("/system/size", json!(4095), "system.size"),
        ("/system/size", json!(4096 - 512), "system.size"),
        ("/system/size", json!(10240 + 512), "system.size"),
        ("/system/size", json!(u64::MAX), "system.size"),
        ("/system/md5", json!("d".repeat(31)), "system.md5"),
        ("/system/sha256", json!(""), "system.sha256"),
    ];
    for (pointer, new, expected) in cases {
        let mut value = valid();
        *value.pointer_mut(pointer).unwrap() = new.clone();
        let error = parse(&value)
            .expect_err(&format!("{pointer} = {new}"))
            .to_string();
        assert!(error.starts_with(expected), "{pointer} = {new}: {error}");
    }
}

#[test]
fn a_member_that_is_missing_or_there_twice_is_refused() {
    for name in [
        "format",
        "product",
        "version",
        "kind",
        "created",
        "rollback_index",
        "payloads",
        "system",
    ] {
        let mut value = valid();
        value.as_object_mut().unwrap().remove(name);
        assert!(parse(&value).is_err(), "without {name}");
    }
    let text = valid().to_string();
    let twice = text.replacen('{', "{\"product\":\"other\",", 1);
    assert!(Manifest::from_json(twice.as_bytes()).is_err());
}

#[test]
fn kinds_are_read_as_they_are_written() {
    for kind in [Kind::Kernel, Kind::Rootfs, Kind::Full, Kind::Recovery] {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert!("patch".parse::<Kind>().is_err());
}

/// serde reads more than other readers do: an array for an object, `{"full": null}` for a word.
#[test]
fn every_reader_reads_one_document() {
    let text = valid().to_string();
    let with = |pointer: &str, new: Value| {
        let mut value = valid();
        *value.pointer_mut(pointer).unwrap() = new;
        value.to_string()
    };
    let member = |more: &str| text.replacen('{', &format!("{{{more},"), 1);
    let array = |pointer: &str, names: &[&str]| {
        let value = valid();
        let object = value.pointer(pointer).unwrap();
        with(
            pointer,
            names.iter().map(|name| object[name].clone()).collect(),
        )
    };
    let payload = [
        "name",
        "type",
        "size",
        "sha256",
        "image_size",
        "image_sha256",
    ];
    let documents = [
        ("payload-as-array", array("/payloads/0", &payload)),
        (
            "system-as-array",
            array("/system", &["size", "md5", "sha256"]),
        ),
        (
            "manifest-as-array",
            r#"[1, "p", "1", "full", "2026-01-31T12:00:00Z", 7, [], {}]"#.into(),
        ),
        ("kind-as-object", with("/kind", json!({"full": null}))),
        (
            "type-as-object",
            with("/payloads/0/type", json!({"kernel": null})),
        ),
        ("payloads-as-object", with("/payloads", json!({}))),
        ("float-for-integer", with("/rollback_index", json!(7.0))),
        (
            "exponent",
            text.replace("\"rollback_index\":7", "\"rollback_index\":7e0"),
        ),
        (
            "minus-zero",
            text.replace("\"rollback_index\":7", "\"rollback_index\":-0"),
        ),
        ("text-for-integer", with("/rollback_index", json!("7"))),
        ("null-for-left-out", member("\"minimum_recovery\":null")),
        ("null-for-no-sbom", member("\"sbom_sha256\":null")),
        ("member-twice", member("\"version\":\"1.0.0\"")),
        (
            "member-twice-by-escapes",
            member("\"\\u0076ersion\":\"1.0.0\""),
        ),
        ("remark-twice", member("\"x\":1,\"x\":2")),
        ("remark-twice-inside", member("\"x\":[{\"y\":1,\"y\":2}]")),
        (
            "remark-too-deep",
            member(&format!("\"x\":{}{}", "[".repeat(200), "]".repeat(200))),
        ),
        ("remark-not-a-number", member("\"x\":NaN")),
        ("remark-endless-number", member("\"x\":1e999")),
        ("remark-half-a-letter", member("\"x\":\"\\ud800\"")),
        ("byte-order-mark", format!("\u{feff}{text}")),
        ("trailing-document", format!("{text}{text}")),
        ("trailing-nul", format!("{text}\0")),
        ("remark-of-javascript", format!("/**/{text}")),
    ];
    Manifest::from_json(member("\"x\":[{\"y\":1.5},{\"y\":null}]").as_bytes()).unwrap();
    for (attack, document) in documents {
        assert!(
            Manifest::from_json(document.as_bytes()).is_err(),
            "{attack}: {document}"
        );
    }
}

#[test]
fn a_time_is_written_in_one_way() {
    let parse_created = |created: &str| {
        let mut value = valid();
        value["created"] = json!(created);
        parse(&value)
    };
    for created in [
        "1970-01-01T00:00:00Z",
        "2024-02-29T23:59:59Z",
        "2242-03-16T12:56:31Z",
    ] {
        parse_created(created).unwrap();
    }
    for created in [
        "2026-06-01X12:00:00Z",
        "2026-06-01_12:00:00Z",
        "2026-06-01t12:00:00Z",
        "2026-06-01 12:00:00Z",
        "2026-06-01\n12:00:00Z",
        "2026-06-01\u{0}12:00:00Z",
        "2026-06-01T12:00:00z",
        "2026-06-01T12:00:00+00:00",
        "2026-06-01T12:00:00-00:00",
        "2026-06-01T12:00:00.0Z",
        "2026-06-01T12:00:00.5Z",
        "2026-06-01T12:00Z",
        "2026-06-01T12:00:60Z",
        "2016-12-31T23:59:60Z",
        "2026-06-01T24:00:00Z",
        "2026-02-29T12:00:00Z",
        "2026-6-1T12:00:00Z",
        "+2026-06-01T12:00:00Z",
        " 2026-06-01T12:00:00Z",
        "2026-06-01T12:00:00Z\n",
        "1969-12-31T23:59:59Z",
        "2242-03-16T12:56:32Z",
        "9999-12-31T23:59:59Z",
        "",
    ] {
        let error = parse_created(created).expect_err(created);
        assert_eq!(error.field, "created", "{created:?}");
    }
}

#[test]
fn a_package_from_tomorrow_is_told_by_the_clock() {
    let manifest = parse(&valid()).unwrap();
    let created = manifest.created_unix().unwrap();
    for now in [created, created + 1, created - MAX_AHEAD, i64::MAX] {
        manifest.check_created_by(now).unwrap();
    }
    for now in [created - MAX_AHEAD - 1, 0, i64::MIN] {
        let error = manifest.check_created_by(now).unwrap_err().to_string();
        assert!(error.contains("set the clock"), "{error}");
    }
}
