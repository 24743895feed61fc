//! Makes the seeds: genuine ones by the project's own writers, and attacks. `cargo run -p dau-fuzz --example seeds` replaces
//! those of the names below; what the fuzzer found lies beside them and stays. Every run makes keys of its own, and
//! keeps only the root's certificate.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dau_boot_state::fit::testing;
use dau_boot_state::{BootState, Kind as Flag, Slot};
use dau_e2e::hostile::{self, Signatory, Tampering};
use dau_handoff::parameters::{self, ParameterSet, LISTS_DIR};
use dau_handoff::{Entry, History, Job, JobResult, JobState, Kind, Order, Outcome};
use dau_package::frames::{SeekTable, FRAME_CONTENT};
use dau_package::make::{self, Compression, Pki, PkiOptions, Recipe, Signing};
use dau_package::{Head, Manifest};
use openssl::sha::sha256;
use serde_json::json;

/// 2026-01-31T12:00:00Z
const CREATED: i64 = 1_769_860_800;
const DESCRIPTION: &str = "DAU qemu-aarch64 1.1.0 kernel";

fn main() -> Result<()> {
    let work = tempfile::tempdir()?;
    packages(work.path())?;
    frames(work.path())?;
    boot_states()?;
    fits()?;
    jobs()?;
    messages()?;
    settings()?;
    backups(work.path())?;
    texts()
}

/// Writes a seed.
fn seed(target: &str, name: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
    let folder = dau_fuzz::folder().join("seeds").join(target);
    fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// A FIT image with one image that holds.
fn fit(size: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..size).map(|number| (number % 251) as u8).collect();
    let hash = sha256(&data);
    testing::image(DESCRIPTION, &[("kernel", &data, Some(("sha256", &hash)))])
}

/// What passes for an ext4 image: its super block says how many blocks of 4096 bytes it has.
fn ext4(size: usize) -> Vec<u8> {
    let mut image = vec![0; size];
    for (at, byte) in image.iter_mut().enumerate().skip(2048).take(6000) {
        *byte = (at * at % 253) as u8;
    }
    image[1028..1032].copy_from_slice(&((size / 4096) as u32).to_le_bytes());
    image[1048..1052].copy_from_slice(&2_u32.to_le_bytes());
    image[1080..1082].copy_from_slice(&[0x53, 0xEF]);
    image
}

struct Maker {
    folder: PathBuf,
    signing: Signing,
}

impl Maker {
    fn build(&self, name: &str, parts: [Option<&Path>; 3]) -> Result<PathBuf> {
        let [kernel, rootfs, recovery] = parts.map(|part| part.map(Path::to_owned));
        let recipe = Recipe {
            product: "qemu-aarch64".into(),
            version: "1.1.0".into(),
            created: CREATED,
            rollback_index: 7,
            kernel,
            rootfs,
            sbom: None,
            minimum_recovery: recovery.is_some().then(|| "1.0.0".to_owned()),
            recovery,
            compression: Compression {
                level: 19,
                ..Compression::default()
            },
        };
        let output = self.folder.join(name);
        make::build(&recipe, Some(&self.signing), &output, &mut |_, _, _| ())?;
        Ok(output)
    }
}

fn packages(work: &Path) -> Result<()> {
    let pki = Pki::create(&work.join("pki"), &PkiOptions::default())?;
    let keyring = dau_fuzz::folder().join("keyring");
    fs::create_dir_all(&keyring)?;
    fs::copy(pki.keyring().join("root.pem"), keyring.join("root.pem"))?;
    let file = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
        fs::write(work.join(name), bytes)?;
        Ok(work.join(name))
    };
    let (kernel, recovery) = (
        file("kernel.itb", &fit(600))?,
        file("recovery.itb", &fit(300))?,
    );
    let rootfs = file("rootfs.img", &ext4(FRAME_CONTENT + 8192))?;
    let key = openssl::pkey::PKey::private_key_from_pem(&fs::read(pki.signer_key())?)?;
    let maker = Maker {
        folder: work.to_owned(),
        signing: Signing::with_key(&fs::read(pki.signer_chain())?, key)?,
    };
    let full = maker.build("full.dau", [Some(&kernel), Some(&rootfs), Some(&recovery)])?;
    let small = maker.build("kernel.dau", [Some(&kernel), None, None])?;
    for (name, path) in [("genuine-full", &full), ("genuine-kernel", &small)] {
        let bytes = fs::read(path)?;
        let head = Head::parse(&bytes)?.context("a package has a head")?;
        seed("manifest", name, &head.manifest_bytes)?;
        seed("package", name, bytes)?;
    }
    for (name, tampering) in [
        ("attack-manifest-changed", Tampering::Manifest),
        ("attack-signature-changed", Tampering::Signature),
        ("attack-signer-changed", Tampering::Signer),
        ("attack-kernel-changed", Tampering::Kernel),
        ("attack-md5-changed", Tampering::Md5),
        ("attack-second-manifest", Tampering::Trailing),
    ] {
        let path = work.join(name);
        hostile::tamper(&small, tampering, &path)?;
        seed("package", name, fs::read(path)?)?;
    }
    let stranger = Pki::create(&work.join("stranger"), &PkiOptions::default())?;
    let path = work.join("stranger.dau");
    hostile::sign_again(&small, &Signatory::of(&stranger), &path, |_| ())?;
    seed("package", "attack-signed-by-a-stranger", fs::read(path)?)?;
    manifests(&fs::read(full)?)
}

fn manifests(full: &[u8]) -> Result<()> {
    let head = Head::parse(full)?.context("a package has a head")?;
    let genuine: serde_json::Value = serde_json::from_slice(&head.manifest_bytes)?;
    let attack = |name: &str, pointer: &str, value: serde_json::Value| -> Result<()> {
        let mut manifest = genuine.clone();
        *manifest.pointer_mut(pointer).context("it is there")? = value;
        Manifest::from_json(&serde_json::to_vec(&manifest)?)
            .err()
            .with_context(|| format!("{name} is accepted"))?;
        seed("manifest", name, serde_json::to_vec(&manifest)?)
    };
    attack("attack-path-as-product", "/product", json!("../../etc"))?;
    attack("attack-huge-payload", "/payloads/0/size", json!(u64::MAX))?;
    attack(
        "attack-huge-image",
        "/payloads/1/image_size",
        json!(u64::MAX),
    )?;
    attack(
        "attack-other-member",
        "/payloads/0/name",
        json!("/etc/passwd"),
    )?;
    attack(
        "attack-made-before-1970",
        "/created",
        json!("1969-12-31T23:59:59Z"),
    )?;
    attack("attack-later-format", "/format", json!(2))?;
    seed("manifest", "attack-deep", "[".repeat(10_000))
}

fn frames(work: &Path) -> Result<()> {
    let payload = hostile::payload(&work.join("full.dau"), "rootfs.img.zst")?;
    for (name, size) in [
        ("two-frames", (FRAME_CONTENT + 8192) as u64),
        ("attack-image-of-any-size", u64::MAX),
    ] {
        seed("frames", name, [&size.to_le_bytes()[..], &payload].concat())?;
    }
    let image = ext4(12 << 10);
    let frame = zstd::bulk::compress(&image, 19)?;
    let mut table = SeekTable::new();
    table.push(frame.len(), image.len());
    let mut payload = [
        &(image.len() as u64).to_le_bytes()[..],
        &frame,
        &table.to_bytes(),
    ]
    .concat();
    seed("frames", "small-image", &payload)?;
    let last = payload.len() - 20;
    payload[last] ^= 0x40;
    seed("frames", "attack-table-of-another-image", payload)
}

fn boot_states() -> Result<()> {
    let factory = BootState::factory();
    let pairs = [
        ("factory", factory.clone(), factory.clone()),
        ("armed", factory.clone(), newer(&factory.armed(Flag::Full))),
        (
            "trial",
            factory.armed(Flag::Full),
            newer(&factory.committed(Slot::B, 3)),
        ),
        (
            "trial-ended",
            factory.clone(),
            newer(&factory.committed(Slot::B, 0)),
        ),
        (
            "rollback",
            factory.clone(),
            newer(&factory.armed(Flag::Rollback)),
        ),
        (
            "check",
            factory.checking(),
            newer(&factory.in_charge(Slot::B)),
        ),
        (
            "wrapped",
            with_seq(&factory, u32::MAX),
            with_seq(&factory, 0),
        ),
        (
            "opposite",
            with_seq(&factory, 1 << 31),
            with_seq(&factory, 0),
        ),
    ];
    for (name, a, b) in pairs {
        seed("boot_state", name, copies(3, &text(&a)?, &text(&b)?))?;
    }
    let plain = text(&factory)?;
    let change = |from: &str, to: &str| -> Vec<u8> {
        String::from_utf8_lossy(&plain)
            .replace(from, to)
            .into_bytes()
    };
    for (name, changed) in [
        (
            "attack-plus-before-the-sequence",
            change("dau_seq=1", "dau_seq=+1"),
        ),
        ("attack-capital-sequence", change("dau_seq=1", "dau_seq=FF")),
        (
            "attack-zero-before-the-tries",
            change("dau_tries=0", "dau_tries=00"),
        ),
        (
            "attack-value-twice",
            change("dau_check=0", "dau_check=0\0dau_kernel=c"),
        ),
        ("attack-no-value", change("dau_check=0", "dau_check=")),
        ("attack-no-end", vec![b'='; 4092]),
    ] {
        seed("boot_state", name, copies(3, &changed, &changed))?;
    }
    seed("boot_state", "damaged", copies(1, &plain, &plain))
}

fn newer(state: &BootState) -> BootState {
    with_seq(state, state.seq + 1)
}

fn with_seq(state: &BootState, seq: u32) -> BootState {
    BootState {
        seq,
        ..state.clone()
    }
}

/// The text of a copy, up to its end mark.
fn text(state: &BootState) -> Result<Vec<u8>> {
    let copy = state.encode()?;
    let end = copy.iter().rposition(|byte| *byte != 0).unwrap_or(4);
    Ok(copy[4..end + 3].to_vec())
}

fn copies(flags: u8, a: &[u8], b: &[u8]) -> Vec<u8> {
    let split = (a.len() as u16).to_le_bytes();
    [&[flags][..], &split, a, b].concat()
}

fn fits() -> Result<()> {
    let data = b"a kernel".as_slice();
    let hash = sha256(data);
    let whole = fit(64);
    seed("fit", "kernel", &whole)?;
    let two = [
        ("kernel", data, Some(("sha256", &hash[..]))),
        ("ramdisk", data, Some(("sha256", &hash[..]))),
    ];
    seed(
        "fit",
        "two-images",
        testing::image("DAU p 1.0 recovery", &two),
    )?;
    let none = [("kernel", data, None)];
    seed("fit", "attack-no-hash", testing::image(DESCRIPTION, &none))?;
    let weak = [("kernel", data, Some(("crc32", &hash[..4])))];
    seed(
        "fit",
        "attack-weak-hash",
        testing::image(DESCRIPTION, &weak),
    )?;
    seed("fit", "attack-no-image", testing::image(DESCRIPTION, &[]))?;
    let mut outside = whole.clone();
    outside[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
    seed("fit", "attack-structure-outside", outside)?;
    seed("fit", "torn", &whole[..whole.len() - 9])
}

fn job(kind: Kind, state: JobState) -> Job {
    let order = Order {
        version: "1.1.0".into(),
        kind,
        url: "https://station:8443/packages/4/x.dau".into(),
        token: Some("secret".into()),
        md5: Some("0".repeat(32)),
        size: Some(61_234_567),
        start_at: 1_800_000_000,
        expires_at: Some(1_800_000_600),
        mid: 815,
    };
    let mut job = Job::new(17, order);
    job.stage("download", 12.5, Some(61_234_567));
    job.attempts.kernel_before = Some('a');
    job.attempts.rootfs_touched = true;
    job.state = state;
    job
}

fn jobs() -> Result<()> {
    let result = JobResult::new(Outcome::RolledBack, "health", "no link");
    let finished = JobState::Finished {
        result: result.clone(),
        acknowledged: false,
    };
    let back = JobState::RollingBack {
        reason: "health: no link".into(),
    };
    let states = [
        ("accepted", Kind::Full, JobState::Accepted),
        ("armed", Kind::Kernel, JobState::Armed),
        ("installing", Kind::Full, JobState::Installing),
        ("trial", Kind::Rootfs, JobState::Trial),
        ("rolling-back", Kind::Full, back),
        (
            "updating-recovery",
            Kind::Recovery,
            JobState::UpdatingRecovery,
        ),
        ("finished", Kind::Full, finished),
    ];
    for (number, (name, kind, state)) in states.into_iter().enumerate() {
        let bytes = serde_json::to_vec(&job(kind, state))?;
        seed("job", name, &bytes)?;
        for (word, first) in [
            ("armed", 0b0000_0001),
            ("trial", 0b0000_1010),
            ("lost", 0b1000_0000),
        ] {
            let verdicts = number as u8 & 3;
            let facts = [first, 3 + 75, 2, verdicts];
            seed(
                "plan",
                &format!("{name}-{word}"),
                [&facts[..], &bytes].concat(),
            )?;
        }
        seed("job", &format!("half-{name}"), &bytes[..bytes.len() / 2])?;
    }
    let mut history = History::default();
    history.add(Entry {
        id: 17,
        version: "1.1.0".into(),
        result,
    });
    seed("job", "history", serde_json::to_vec(&history)?)?;
    seed("plan", "no-job", [1, 3, 2, 3])?;
    seed("job", "zeros", [0; 512])?;
    seed("job", "attack-deep", "[".repeat(10_000))
}

fn messages() -> Result<()> {
    let message = |name: &str, word: &str, code: Option<u16>, param: serde_json::Value| {
        let mut message = json!({"mid": 815, "deviceId": "DTU-0001", "timestamp": "2026-01-31T12:00:00Z", "type": word,
            "expire": 600, "param": param});
        if let Some(code) = code {
            message["code"] = json!(code);
            message["msg"] = json!("said so");
        }
        seed("messages", name, serde_json::to_vec(&message)?)
    };
    let file = json!({"name": "x.dau", "url": "https://station:8443/packages/4/x.dau", "size": 61_234_567,
        "md5": "0123456789abcdef0123456789abcdef", "token": "secret"});
    let progress = json!({"jobId": 17, "state": "downloading", "progress": 42, "bytes": 1, "total": 2, "orderAgain": false});
    let order =
        json!({"jobId": 17, "policy": 0, "version": "1.1.0", "upgradeType": 3, "file": file});
    message("order", "CMD_SYS_UPGRADE", None, order.clone())?;
    message("query", "CMD_STATUS_QUERY", None, json!({"jobId": "17"}))?;
    message("cancel", "CMD_JOB_CANCEL", None, json!({"jobId": 17}))?;
    message(
        "status",
        "CMD_STATUS_QUERY",
        Some(200),
        json!({"jobId": 17, "progress": 42, "state": 2}),
    )?;
    message(
        "acknowledged",
        "REP_JOB_RESULT",
        Some(200),
        json!({"jobId": 17}),
    )?;
    message("progress", "REP_JOB_PROGRESS", None, progress.clone())?;
    let details = json!({"outcome": "success", "word": "success", "stages": [{"name": "download", "seconds": 12.1, "bytes": 3}]});
    let result = json!({"jobId": 17, "code": 200, "msg": "done", "result": 200, "info": "done", "details": details});
    message("result", "REP_JOB_RESULT", None, result)?;
    let link = json!({"dev": {"devSN": "1", "devType": "DTU"}, "os": {"version": "1.0.0", "kernel": "6.1"},
        "dau": {"product": "qemu-aarch64", "rollbackIndex": 7, "freeBytes": 1, "kernelSlot": "a", "job": progress}});
    message("link-up", "EVENT_LINKUP", None, link.clone())?;
    message(
        "heartbeat",
        "EVENT_HEARTBEAT",
        None,
        json!({"dau": link["dau"]}),
    )?;
    message(
        "link-down",
        "EVENT_LINKDOWN",
        None,
        json!({"reason": "reboot"}),
    )?;
    let attack = |name: &str, pointer: &str, value: serde_json::Value| -> Result<()> {
        let mut order = order.clone();
        *order.pointer_mut(pointer).context("it is there")? = value;
        message(name, "CMD_SYS_UPGRADE", None, order)
    };
    attack(
        "attack-header-in-url",
        "/file/url",
        json!("https://s/\r\nX: y"),
    )?;
    attack("attack-file-url", "/file/url", json!("file:///etc/shadow"))?;
    attack("attack-long-version", "/version", json!("9".repeat(2000)))?;
    attack(
        "attack-answer-quotes-it-all",
        "/jobId",
        json!("\"".repeat(9000)),
    )?;
    attack("attack-latest-start", "/policy", json!(i64::MAX))?;
    message("attack-long-type", &"\u{1}".repeat(2000), None, json!({}))?;
    let late = json!({"mid": "-9223372036854775808", "type": "X", "timestamp": i64::MAX, "expire": i64::MAX});
    seed("messages", "attack-latest-time", serde_json::to_vec(&late)?)?;
    seed("messages", "attack-deep", "[".repeat(10_000))
}

fn settings() -> Result<()> {
    let shipped =
        fs::read_to_string(dau_fuzz::folder().join("../../rootfs-overlay/etc/dau/agent.toml"))?;
    // Every key is there as a remark with its default.
    let set: String = shipped.replace("\n#", "\n").replace("\n ", "\n#");
    let site = "[station]\nhost = \"station\"\nport = 8883\n";
    seed(
        "settings",
        "shipped",
        format!("{shipped}\n---\n\n---\n{site}"),
    )?;
    seed("settings", "everything", format!("{set}\n---\n{site}"))?;
    for (name, text) in [
        ("attack-no-time", "[mqtt]\nheartbeat = nan"),
        ("attack-longest-time", "[download]\ngive_up_after = 1e308"),
        ("attack-negative", "[parameters]\nbackups = -1"),
        ("attack-section-is-a-value", "mqtt = 5"),
        ("attack-host-with-a-path", "[station]\nhost = \"a/b\""),
    ] {
        seed("settings", name, format!("{site}\n---\n{text}\n"))?;
    }
    Ok(())
}

fn backups(work: &Path) -> Result<()> {
    let root = work.join("root");
    fs::create_dir_all(root.join("etc/dau/parameters.d"))?;
    fs::create_dir_all(root.join("etc/app/sub"))?;
    fs::write(
        root.join("etc/dau/parameters.d/x.list"),
        "/etc/app\n/etc/point.csv\n",
    )?;
    fs::write(root.join("etc/app/settings.toml"), "station_address = 47\n")?;
    fs::hard_link(
        root.join("etc/app/settings.toml"),
        root.join("etc/app/sub/same"),
    )?;
    std::os::unix::fs::symlink("settings.toml", root.join("etc/app/link"))?;
    fs::write(root.join("etc/point.csv"), "1,2\n")?;
    let set = ParameterSet::load(&root, Path::new(LISTS_DIR))?;
    let tar = work.join("17.tar");
    parameters::backup(&root, &set, &tar, &work.join("17.tar.sha256"))?;
    let bytes = fs::read(&tar)?;
    seed("parameters", "backup", &bytes)?;
    seed("parameters", "torn", &bytes[..bytes.len() - 700])?;
    for (name, path, kind, target) in [
        (
            "attack-path-leads-out",
            "../outside/witness",
            tar::EntryType::Regular,
            "",
        ),
        (
            "attack-through-a-link",
            "etc/out/witness",
            tar::EntryType::Regular,
            "",
        ),
        (
            "attack-over-a-link",
            "etc/app/file",
            tar::EntryType::Regular,
            "",
        ),
        (
            "attack-link-out",
            "etc/app/file",
            tar::EntryType::Symlink,
            "../../../outside/witness",
        ),
        (
            "attack-other-name-outside",
            "etc/app/file",
            tar::EntryType::Link,
            "../outside/witness",
        ),
        ("attack-device", "etc/app/file", tar::EntryType::Char, ""),
    ] {
        seed("parameters", name, archive(path, kind, target)?)?;
    }
    Ok(())
}

/// An archive of one entry, with the time that readers demand.
fn archive(path: &str, kind: tar::EntryType, target: &str) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let record = b"30 mtime=1769860800.000000000\n";
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_size(record.len() as u64);
    header.set_cksum();
    archive.append(&header, &record[..])?;
    let content: &[u8] = match kind {
        tar::EntryType::Regular => b"overwritten",
        _ => b"",
    };
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    // Written directly: the tar crate refuses the names that attacks need.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    archive.append(&header, content)?;
    Ok(archive.into_inner()?)
}

fn texts() -> Result<()> {
    let hex = "0f".repeat(32);
    for (name, text) in [
        (
            "headers-range",
            "h206\n200\nbytes 100-299/300\n\"a\"\n\n100\n300\n\"a\"",
        ),
        ("headers-whole", "h200\n300\n\n\"a\"\n7\n0\n"),
        ("headers-complete", "h416\n\nbytes */300\n\n\n300\n300"),
        (
            "attack-range-to-the-end-of-numbers",
            "h206\n\nbytes 1-18446744073709551615/0\n\n\n1\n",
        ),
        (
            "command-line",
            "cconsole=ttyAMA0 dau.reason=trial-ended dau.recovery=b dau.kernel=a quiet",
        ),
        (
            "os-release",
            "oNAME=\"x\"\nVERSION_ID=1.1.0\nDAU_PRODUCT='p'\nDAU_ROLLBACK_INDEX=7\n",
        ),
        (
            "parameter-list",
            "p# ours\n/etc/app/**/*.conf\n/etc/[a-c]?\n",
        ),
        ("attack-list-of-everything", "p/*\n"),
        (
            "attack-list-of-the-kernels",
            "p/etc/../proc\n//proc\n/./dev\n",
        ),
        ("topic", "t/v1/DTU-0001/device/command"),
        ("attack-topic-of-everybody", "t/v1/+/device/command"),
        ("versions", "v1.2~rc1\n1.10"),
    ] {
        seed("texts", name, text)?;
    }
    seed(
        "texts",
        "revoked",
        format!("r# lost\ncertificate {hex}\nkey {hex} # theirs\n"),
    )?;
    seed(
        "texts",
        "attack-revoked-cut-short",
        format!("rkey {}", &hex[..60]),
    )
}
