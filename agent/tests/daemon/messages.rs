//! Messages that make no sense: each gets a reply with a reason, and the terminal goes on.

use crate::support::files::Fault;
use crate::support::packages::Wish;
use crate::support::station::order;
use crate::support::{wait_for, World};
use dau_protocol::{code, message_type, Word, MAX_MESSAGE};
use serde_json::json;

#[test]
fn each_gets_a_reply_with_a_reason() {
    let mut world = World::new();
    world.start();
    let url = "https://localhost/x.dau";
    let cases = [
        (
            message_type::UPGRADE,
            order(1, 0, "1.1.0", url),
            "upgradeType 0",
        ),
        (
            message_type::UPGRADE,
            order(1, 9, "1.1.0", url),
            "upgradeType 9",
        ),
        (
            message_type::UPGRADE,
            order(1, 3, "1.1.0", "http://localhost/x"),
            "https",
        ),
        (message_type::UPGRADE, json!({"jobId": 1}), "version"),
        (message_type::UPGRADE, json!(null), "malformed"),
        (message_type::STATUS_QUERY, json!({}), "jobId"),
        (message_type::JOB_CANCEL, json!({"jobId": 99}), "not known"),
        ("CMD_CTRL", json!({"action": "explode"}), "CMD_CTRL"),
    ];
    for (message_type, param, word) in cases {
        let answer = world.station.ask(message_type, param.clone());
        assert_eq!(
            answer.code,
            Some(code::BAD_REQUEST),
            "{message_type} {param}"
        );
        assert_eq!(answer.message_type, message_type);
        assert!(
            answer.msg.contains(word),
            "{message_type} {param}: {}",
            answer.msg
        );
    }
    for bytes in [
        &b"{\"mid\": 5, "[..],
        b"",
        b"[]",
        b"\xff\xfe",
        b"{\"mid\": \"x\"}",
    ] {
        world.station.send_raw(Word::Command, bytes);
        let answer = world.station.expect("a refusal", |word, message| {
            word == Word::Reply && message.mid == 0
        });
        assert_eq!(
            answer.code,
            Some(code::BAD_REQUEST),
            "{bytes:?}: {}",
            answer.msg
        );
    }
    assert!(world.terminal.job().is_none() && world.terminal.runs());
}

#[test]
fn a_message_that_is_too_long_does_not_come_for_ever() {
    let mut world = World::new();
    world.start();
    // Somewhat too long: it is read and refused. Far too long: the session is thrown away with it.
    for length in [MAX_MESSAGE + 1, 3 * MAX_MESSAGE] {
        world.station.send_raw(Word::Command, &vec![b' '; length]);
        let answer = world.station.expect("a refusal", |word, message| {
            word == Word::Reply && message.mid == 0
        });
        assert_eq!(
            answer.code,
            Some(code::BAD_REQUEST),
            "{length}: {}",
            answer.msg
        );
        assert!(
            answer.msg.contains("more than") || answer.msg.contains("too long"),
            "{}",
            answer.msg
        );
    }
    world.station.expect_type(message_type::LINK_UP);
    let answer = world
        .station
        .ask(message_type::STATUS_QUERY, json!({"jobId": 1}));
    assert_eq!(answer.code, Some(code::BAD_REQUEST));
    // Persistent again: what is sent while the terminal is away reaches it.
    world.terminal.kill();
    let mid = world.station.command("CMD_X", json!({}));
    world.terminal.start();
    world.station.expect("an answer", |_, message| {
        message.mid == mid && message.code.is_some()
    });
}

#[test]
fn the_same_order_twice_is_one_job_and_another_one_is_refused() {
    let mut world = World::new();
    world.start();
    let url = world
        .files
        .offer("full.dau", world.maker.make(&Wish::default()));
    world.files.faults([Fault::Stall(200_000)]);
    assert_eq!(
        world.station.order(order(7, 3, "1.1.0", &url)).code,
        Some(code::ACCEPTED)
    );
    wait_for("the stall", || world.files.is_stalled().then_some(()));
    assert_eq!(
        world.station.order(order(7, 3, "1.1.0", &url)).code,
        Some(code::ACCEPTED)
    );
    let answer = world.station.order(order(8, 3, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::REFUSED));
    assert!(answer.msg.contains("job 7"), "{}", answer.msg);
    assert_eq!(answer.param["busyWith"], 7);
    let answer = world.station.order(order(7, 3, "1.2.0", &url));
    assert_eq!(answer.code, Some(code::REFUSED));
    assert_eq!(world.files.requests().len(), 1);
    world.files.let_go();
    world.terminal.reboots();
    assert_eq!(world.terminal.job().unwrap().id, 7);
}

#[test]
fn an_order_is_kept_before_the_broker_may_forget_it() {
    let mut world = World::new();
    world.start();
    let url = world
        .files
        .offer("full.dau", world.maker.make(&Wish::default()));
    // The terminal is away; the broker keeps the order, and loses nothing when it is killed.
    world.terminal.kill();
    world
        .station
        .command(message_type::UPGRADE, order(7, 3, "1.1.0", &url));
    world.broker.saved("the order");
    world.broker.restart();
    world.terminal.start();
    world.terminal.reboots();
    assert_eq!(world.terminal.job().unwrap().id, 7);
}

#[test]
fn an_order_that_expired_is_not_taken() {
    let mut world = World::new();
    world.start();
    let text = format!(
        r#"{{"mid": 5, "timestamp": 1000000000, "expire": 60, "type": "CMD_SYS_UPGRADE", "param": {}}}"#,
        order(7, 3, "1.1.0", "https://localhost/x.dau")
    );
    world.station.send_raw(Word::Command, text.as_bytes());
    let answer = world.station.expect("an answer", |word, message| {
        word == Word::Reply && message.mid == 5
    });
    assert_eq!(answer.code, Some(code::TIMEOUT));
    assert!(world.terminal.job().is_none());
}

#[test]
fn the_station_learns_of_a_terminal_that_is_gone() {
    let mut world = World::new();
    world.start();
    world.terminal.kill();
    let message = world.station.expect_type(message_type::LINK_DOWN);
    assert_eq!(message.param["reason"], json!("connection lost"));
}
