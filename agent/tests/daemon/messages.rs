//! Messages that make no sense: each gets a reply with a reason, and the terminal goes on.

use crate::support::files::Fault;
use crate::support::packages::Wish;
use crate::support::station::order;
use crate::support::{wait_for, World};
use dau_protocol::report::MAX_SPREAD;
use dau_protocol::{code, message_type, Channel, MAX_MESSAGE};
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
        world.station.send_raw(Channel::Command, bytes);
        let answer = world.station.expect("a refusal", |word, message| {
            word == Channel::Reply && message.mid == 0
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
        world
            .station
            .send_raw(Channel::Command, &vec![b' '; length]);
        let answer = world.station.expect("a refusal", |word, message| {
            word == Channel::Reply && message.mid == 0
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
    world.station.send_raw(Channel::Command, text.as_bytes());
    let answer = world.station.expect("an answer", |word, message| {
        word == Channel::Reply && message.mid == 5
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

/// Each is refused at the order, with its word, and the next order is taken.
#[test]
fn an_order_that_can_never_be_carried_out_is_refused_at_once() {
    let mut world = World::new();
    world.start();
    for url in [
        "https://station:84433/packages/1/x.dau",
        "https://::1:8443/x.dau",
        "https://",
        "https://h:-1/",
        "https://:8443",
        "https://station:0/x",
        "https://[::1/x",
        "https://[fe80::1%25eth0]/x",
        "https://st ation/x",
        "https://\u{202e}station/x",
    ] {
        let answer = world.station.order(order(7, 3, "1.1.0", url));
        assert_eq!(
            answer.code,
            Some(code::BAD_REQUEST),
            "{url}: {}",
            answer.msg
        );
        assert_eq!(answer.param["word"], json!("url"), "{url}: {}", answer.msg);
    }
    for policy in [
        json!(-1),
        json!(31_536_001),
        json!(1_000_000_000_000_i64),
        json!(i64::MAX),
        json!(i64::MIN),
        json!("9223372036854775807"),
    ] {
        let mut param = order(7, 3, "1.1.0", "https://localhost/x.dau");
        param["policy"] = policy.clone();
        let answer = world.station.order(param);
        assert_eq!(
            answer.code,
            Some(code::BAD_REQUEST),
            "{policy}: {}",
            answer.msg
        );
        assert_eq!(answer.param["word"], json!("policy"), "{policy}");
    }
    assert!(world.terminal.job().is_none() && world.terminal.runs());
    let mut param = order(7, 3, "1.1.0", "https://[::1]:8443/x.dau");
    param["policy"] = json!(31_536_000);
    assert_eq!(world.station.order(param).code, Some(code::ACCEPTED));
    // Whoever did not order it sees what is in the way, and calls it off.
    let other = world
        .station
        .order(order(8, 3, "1.1.0", "https://localhost/x"));
    assert_eq!(other.param["busyWith"], json!(7));
    let cancelled = world
        .station
        .ask(message_type::JOB_CANCEL, json!({"jobId": 7}));
    assert_eq!(cancelled.code, Some(code::OK));
    assert_eq!(world.station.result(7).details.unwrap().word, "cancelled");
}

/// The broker drops what goes beyond its queue.
#[test]
fn a_terminal_says_who_it_is_until_the_station_answers() {
    let mut world = World::new();
    world.station.answer_link_ups(false);
    world.start();
    for _ in 0..2 {
        world.station.expect_type(message_type::LINK_UP);
    }
    world.station.answer_link_ups(true);
    world.station.expect_type(message_type::LINK_UP);
    world.station.wait_for_quiet(message_type::LINK_UP);
    for _ in 0..world.station.count(message_type::LINK_UP) {
        world.station.expect_type(message_type::LINK_UP);
    }
    world.station.ask_for_link_up();
    world.station.expect_type(message_type::LINK_UP);
}

#[test]
fn a_terminal_that_comes_back_waits_as_the_station_says_unless_it_has_a_job() {
    let mut world = World::new();
    world.start();
    world.station.spread_link_ups(MAX_SPREAD);
    world.station.ask_for_link_up();
    world.station.expect_type(message_type::LINK_UP);
    let kept = world.terminal.layout.spread();
    wait_for("the seconds on mnt", || {
        let text = std::fs::read_to_string(&kept).unwrap_or_default();
        (text.trim() == MAX_SPREAD.to_string()).then_some(())
    });
    world.terminal.kill();
    world.station.wait_for_quiet(message_type::LINK_UP);
    let before = world.station.count(message_type::LINK_UP);
    world.terminal.start();
    // It is connected, and answers.
    let job = json!({"jobId": 1});
    world.station.ask(message_type::STATUS_QUERY, job);
    assert_eq!(world.station.count(message_type::LINK_UP), before);
    let url = world
        .files
        .offer("full.dau", world.maker.make(&Wish::default()));
    world.files.faults([Fault::Stall(200_000)]);
    let answer = world.station.order(order(7, 3, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::ACCEPTED));
    world.terminal.kill();
    world.terminal.start();
    world.station.expect("a greeting", |_, message| {
        message.message_type == message_type::LINK_UP && message.param["dau"]["job"]["jobId"] == 7
    });
}

#[test]
fn a_heartbeat_says_product_and_version() {
    let mut world = World::with_settings("[mqtt]\nheartbeat = 0.2\n");
    world.start();
    let heartbeat = world.station.expect_type(message_type::HEARTBEAT);
    assert_eq!(heartbeat.param["dau"]["version"], json!("1.0.0"));
    assert_eq!(heartbeat.param["dau"]["product"], json!("test-terminal"));
}

#[test]
fn what_others_send_does_not_steer_the_log() {
    let mut world = World::new();
    world.start();
    let answer = world.station.ask("CMD_\u{1b}[2J\n\u{202e}X", json!({}));
    assert_eq!(answer.code, Some(code::BAD_REQUEST));
    let log = world.terminal.log();
    assert!(log.contains("CMD_\\u{1b}[2J\\n\\u{202e}X"), "{log}");
    assert!(!log.contains(['\u{1b}', '\u{202e}']), "{log}");
}
