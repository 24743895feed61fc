//! An upgrade that succeeds.

use crate::support::packages::Wish;
use crate::support::station::order;
use crate::support::{wait_for, World};
use dau_boot_state::Operation;
use dau_model::{Kind, State};
use dau_protocol::{code, message_type, Channel};
use serde_json::json;

#[test]
fn an_upgrade_from_order_to_acknowledged_result() {
    let mut world = World::new();
    let package = world.maker.make(&Wish::default());
    let url = world.files.offer("full.dau", package.clone());
    world.files.require("token-1");
    world.terminal.start();

    let hello = world.station.expect_type(message_type::LINK_UP);
    assert_eq!(hello.param["os"]["version"], json!("1.0.0"));
    assert_eq!(hello.param["dau"]["product"], json!("test-terminal"));

    let answer = world.station.order(order(7, 3, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::ACCEPTED));
    for state in ["downloading", "verifying", "backing-up", "armed"] {
        world.station.progress(7, state);
    }
    world.station.expect("good-bye", |word, message| {
        word == Channel::Request && message.param["reason"] == json!("reboot")
    });
    world.terminal.reboots();
    let (job, boot) = (world.terminal.job().unwrap(), world.terminal.boot());
    assert_eq!(job.state(), State::Armed);
    assert!(
        boot.upgrade && boot.operation == Operation::Install(Kind::Full),
        "{boot:?}"
    );
    let candidate = std::fs::read(world.terminal.layout.candidate()).unwrap();
    assert!(
        candidate == package,
        "the candidate is not what was offered"
    );
    assert!(world.terminal.layout.backup(7).exists());

    world.terminal.recovery_installs("1.1.0");
    world.terminal.start();
    let report = world.station.result(7);
    let details = report.details.unwrap();
    assert_eq!(
        (report.code, details.outcome.as_str()),
        (code::OK, "success")
    );
    assert_eq!(
        (
            details.version_before.as_str(),
            details.version_after.as_str()
        ),
        ("1.0.0", "1.1.0")
    );
    assert_eq!(details.parameters_before, details.parameters_after);
    assert_eq!(details.parameters_before.len(), 64);
    let stages: Vec<_> = details
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(
        stages,
        ["download", "verify", "backup", "write-rootfs", "trial"]
    );
    let boot = world.terminal.boot();
    assert!(!boot.trial && !boot.upgrade, "{boot:?}");
    let installed = std::fs::read(world.terminal.layout.installed()).unwrap();
    assert!(installed == package && !world.terminal.layout.candidate().exists());

    // Unanswered, the result comes again; answered, it does not.
    world.station.result(7);
    world.station.acknowledge(7);
    wait_for("the acknowledgement", || {
        world.terminal.log().contains("taken note").then_some(())
    });
    world.station.wait_for_quiet(message_type::JOB_RESULT);

    // The same order again is the same job.
    let answer = world.station.order(order(7, 3, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::OK));
    world.station.result(7);
    assert!(world.terminal.job().is_none());
    let status = world
        .station
        .ask(message_type::STATUS_QUERY, json!({"jobId": 7}));
    assert_eq!(
        (&status.param["progress"], &status.param["state"]),
        (&json!(100), &json!(5))
    );
    let status = world
        .station
        .ask(message_type::STATUS_QUERY, json!({"jobId": 8}));
    assert_eq!(status.code, Some(code::BAD_REQUEST));
    assert!(world.terminal.stop().success());
    world.station.expect("good-bye", |_, message| {
        message.param["reason"] == json!("stopped")
    });
}
