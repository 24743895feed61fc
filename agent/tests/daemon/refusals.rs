//! What the agent refuses: the terminal stays as it was, runs on, and the result says why.

use crate::support::files::Fault;
use crate::support::packages::Wish;
use crate::support::station::{md5_of, order};
use crate::support::World;
use dau_boot_state::BootState;
use dau_protocol::code;

/// Orders, waits for the result, and checks that nothing else happened.
fn refused(world: &mut World, id: i64, kind: u8, url: &str) -> String {
    let answer = world.station.order(order(id, kind, "1.1.0", url));
    assert_eq!(answer.code, Some(code::ACCEPTED), "{}", answer.msg);
    let report = world.station.result(id);
    world.station.acknowledge(id);
    let details = report.details.unwrap();
    assert!(
        report.code >= 400 && !report.msg.is_empty(),
        "{} {}",
        report.code,
        report.msg
    );
    assert_eq!(details.version_after, "1.0.0");
    assert_eq!(
        world.terminal.boot(),
        BootState {
            seq: 1,
            ..BootState::factory()
        }
    );
    let layout = &world.terminal.layout;
    assert!(!layout.candidate().exists() && world.terminal.job().is_none());
    assert_eq!(
        std::fs::read_dir(layout.packages()).unwrap().count(),
        0,
        "leftovers"
    );
    format!("{}: {}", details.outcome, details.word)
}

#[test]
fn a_package_that_is_not_for_this_terminal_or_order_is_refused_by_its_first_kilobytes() {
    let mut world = World::new();
    world.start();
    let good = Wish::default();
    let cases = [
        (
            Wish {
                product: "other-terminal",
                ..good.clone()
            },
            3,
            "refused: wrong-product",
        ),
        (
            Wish {
                rollback_index: 4,
                ..good.clone()
            },
            3,
            "refused: older-rollback-index",
        ),
        (
            Wish {
                version: "1.2.0",
                ..good.clone()
            },
            3,
            "refused: wrong-version",
        ),
        (
            Wish {
                kernel: false,
                ..good.clone()
            },
            3,
            "refused: wrong-kind",
        ),
        (good, 2, "refused: wrong-kind"),
    ];
    for (index, (wish, kind, expected)) in cases.into_iter().enumerate() {
        let url = world
            .files
            .offer(&format!("{index}.dau"), world.maker.make(&wish));
        // The rest never comes: the first kilobytes must do.
        world.files.faults([Fault::Stall(64 << 10)]);
        assert_eq!(refused(&mut world, index as i64, kind, &url), expected);
        world.files.let_go();
    }
}

#[test]
fn a_package_that_was_tampered_with_is_refused() {
    let mut world = World::new();
    world.start();
    let package = world.maker.make(&Wish::default());
    let find = |text: &str| {
        package
            .windows(text.len())
            .position(|part| part == text.as_bytes())
            .unwrap()
    };
    let version = find("1.1.0") + 4;
    let payload = package.len() / 2;
    let md5 = find("system.tar.md5") + 512;
    let cases: [(&str, usize, u8, &str); 3] = [
        ("manifest", version, b'9', "signature-invalid"),
        ("payload", payload, !package[payload], "md5-mismatch"),
        (
            "md5-file",
            md5,
            if package[md5] == b'0' { b'1' } else { b'0' },
            "md5-mismatch",
        ),
    ];
    for (index, (name, at, byte, word)) in cases.into_iter().enumerate() {
        let mut tampered = package.clone();
        tampered[at] = byte;
        let url = world.files.offer(name, tampered);
        let outcome = refused(&mut world, index as i64, 3, &url);
        assert_eq!(outcome, format!("refused: {word}"), "{name}");
    }
    let mut short = package.clone();
    short.truncate(package.len() - 20_000);
    let url = world.files.offer("short", short);
    assert_eq!(refused(&mut world, 10, 3, &url), "refused: wrong-size");
    let url = world
        .files
        .offer("page", b"<html>It works!</html>".repeat(100));
    let outcome = refused(&mut world, 11, 3, &url);
    assert_eq!(outcome, "failed: not-a-package");
}

#[test]
fn a_signer_that_the_terminal_does_not_know_is_refused() {
    let mut world = World::new();
    let stranger = World::new();
    world.start();
    let url = world
        .files
        .offer("foreign.dau", stranger.maker.make(&Wish::default()));
    assert_eq!(refused(&mut world, 1, 3, &url), "refused: signer-unknown");
}

#[test]
fn what_the_file_service_does_not_have_is_asked_for_a_few_times() {
    let mut world = World::with_settings("[download]\nattempts = 3\n");
    world.start();
    let url = world.files.offer("x.dau", Vec::new());
    let outcome = refused(&mut world, 1, 3, &url.replace("x.dau", "none.dau"));
    assert_eq!(outcome, "failed: not-found");
    assert_eq!(world.files.requests().len(), 3);
    // What is final by its nature ends the job at once.
    for (id, status, word) in [(2, 302, "redirected"), (3, 410, "not-found")] {
        world.files.faults([Fault::Status(status, None)]);
        assert_eq!(refused(&mut world, id, 3, &url), format!("failed: {word}"));
    }
    assert_eq!(world.files.requests().len(), 5);
}

#[test]
fn a_file_service_that_is_never_ready_does_not_hold_the_job_for_ever() {
    let mut world = World::with_settings("[download]\nattempts = 4\n");
    world.start();
    let url = world.files.offer("x.dau", Vec::new());
    world.files.faults(vec![Fault::Status(503, Some(0)); 100]);
    assert_eq!(refused(&mut world, 1, 3, &url), "failed: download");
    assert_eq!(world.files.requests().len(), 4);
}

#[test]
fn a_package_for_which_there_is_no_room_is_not_fetched() {
    let mut world = World::with_settings("[download]\nreserve = 9000000000000000\n");
    world.start();
    let url = world
        .files
        .offer("x.dau", world.maker.make(&Wish::default()));
    assert_eq!(refused(&mut world, 1, 3, &url), "refused: no-space");
}

#[test]
fn the_md5_of_the_order_counts() {
    let mut world = World::new();
    world.start();
    let package = world.maker.make(&Wish::default());
    let url = world.files.offer("x.dau", package.clone());
    let mut param = order(1, 3, "1.1.0", &url);
    param["file"]["md5"] = serde_json::json!("0".repeat(32));
    assert_eq!(world.station.order(param).code, Some(code::ACCEPTED));
    let details = world.station.result(1).details.unwrap();
    assert_eq!(details.word, "order-md5-mismatch");
    world.station.acknowledge(1);
    let mut param = order(2, 3, "1.1.0", &url);
    param["file"]["md5"] = serde_json::json!(md5_of(&package));
    assert_eq!(world.station.order(param).code, Some(code::ACCEPTED));
    world.terminal.reboots();
}

/// What RecoveryOS would find out after it had begun to write.
#[test]
fn an_image_that_recovery_os_could_not_install_is_refused_before_the_outage() {
    let mut world = World::new();
    world.start();
    let lies = world
        .maker
        .with_image_sha256(&Wish::default(), &"0".repeat(64));
    let url = world.files.offer("lies.dau", lies);
    assert_eq!(refused(&mut world, 1, 3, &url), "refused: image-mismatch");
}

#[test]
fn an_image_larger_than_its_partition_is_refused_before_the_outage() {
    let device = tempfile::NamedTempFile::new().unwrap();
    let setting = format!("[paths]\nrootfs_device = '{}'\n", device.path().display());
    let mut world = World::with_settings(&setting);
    let url = world
        .files
        .offer("x.dau", world.maker.make(&Wish::default()));
    device.as_file().set_len(3 << 20).unwrap();
    world.start();
    assert_eq!(refused(&mut world, 1, 3, &url), "refused: rootfs-size");
    // The image fits now, but not together with the parameters.
    device.as_file().set_len(4 << 20).unwrap();
    let parameter = world.terminal.parameter().with_file_name("large");
    std::fs::write(&parameter, vec![b'x'; 3 << 20]).unwrap();
    assert_eq!(refused(&mut world, 2, 3, &url), "refused: rootfs-size");
    device.as_file().set_len(16 << 20).unwrap();
    let answer = world.station.order(order(3, 3, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::ACCEPTED));
    world.terminal.reboots();
}
