//! Jobs from order to result.

use dau_protocol::{message_type, upgrade_type, Channel, Topic};
use serde_json::json;

use crate::site::{wait_for, Site};
use crate::terminal::Terminal;

/// Returns how often commands for a job were sent.
fn sent(site: &Site, job: i64) -> usize {
    let events = site.job(job)["events"].clone();
    let events = events.as_array().unwrap().iter();
    events.filter(|event| event["kind"] == "sent").count()
}

#[test]
fn an_upgrade_goes_from_order_to_its_one_result() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let package = site.package("1.1.0");
    let job = site.order_with("t1", package, json!({"policy": 7, "expire": 3600}));

    let upgrade = terminal.take_order();
    assert_eq!((upgrade.job_id, upgrade.policy), (job, 7));
    assert_eq!(
        (upgrade.version.as_str(), upgrade_type(upgrade.kind)),
        ("1.1.0", 2)
    );
    let known = site.get(&format!("packages/{package}"));
    assert_eq!(json!(upgrade.file.size), known["size"]);
    assert_eq!(json!(upgrade.file.md5), known["fileMd5"]);
    assert!(
        upgrade.file.url.starts_with("https://localhost:"),
        "{}",
        upgrade.file.url
    );
    site.wait_state(job, "accepted");

    terminal.progress(job, "downloading", 42, false);
    let found = site.wait_state(job, "downloading");
    assert_eq!(
        (&found["progress"], &found["bytes"]),
        (&json!(42), &json!(420))
    );
    terminal.progress(job, "installing", 1, false);
    site.wait_state(job, "installing");

    let mid = terminal.report(job, 200, "success");
    let acknowledged = terminal.expect(Channel::Response, message_type::JOB_RESULT);
    assert_eq!((acknowledged.mid, acknowledged.code), (mid, Some(200)));
    assert_eq!(acknowledged.param["jobId"], job);
    let found = site.job(job);
    assert_eq!(found["state"], "finished");
    assert_eq!(found["result"]["outcome"], "success");
    assert_eq!(found["result"]["details"]["versionAfter"], "1.1.0");

    // Once more, and then another one: both are acknowledged, the first stays.
    for (code, outcome) in [(200, "success"), (500, "failed")] {
        let mid = terminal.report(job, code, outcome);
        let acknowledged = terminal.expect(Channel::Response, message_type::JOB_RESULT);
        assert_eq!((acknowledged.mid, acknowledged.code), (mid, Some(200)));
        assert_eq!(site.job(job)["result"], found["result"]);
    }
    assert_eq!(
        site.record(job),
        [
            "created",
            "sent",
            "answered",
            "state",
            "result",
            "late-result"
        ]
    );
}

#[test]
fn an_order_carries_its_budget_and_the_terminal_says_what_it_spent() {
    let site = Site::start_with("[jobs]\nbudget = 3000000\nresend_seconds = 1");
    let mut terminal = site.terminal("t1");
    let package = site.package("1.1.0");
    for (more, budget) in [
        (json!({}), 3_000_000),
        (json!({"budget": 500_000}), 500_000),
    ] {
        let job = site.order_with("t1", package, more);
        assert_eq!(site.job(job)["budget"], budget);
        assert_eq!(terminal.take_order().budget, Some(budget));
        terminal.progress(job, "downloading", 42, false);
        let found = site.wait_state(job, "downloading");
        assert_eq!(found["bytesUsed"], 462);
        terminal.finish(job, 200, "success");
        assert_eq!(site.job(job)["bytesUsed"], 1234);
    }
    let said = site.cli(&[
        "order",
        "--terminal=t1",
        "--package=1.1.0",
        "--budget=400000",
    ]);
    assert!(said.status.success(), "{said:?}");
    let order = terminal.take_order();
    assert_eq!(order.budget, Some(400_000));
    terminal.finish(order.job_id, 200, "success");
    let said = site.cli(&["job", &order.job_id.to_string()]).stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("1.21 KiB used of 390.62 KiB"), "{said}");
}

#[test]
fn link_up_tells_what_runs() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let found = site.get("terminals/t1");
    assert_eq!(found["version"], "1.0.0");
    assert_eq!(found["product"], "test-product");
    assert_eq!(found["online"], true);
    assert_eq!(found["linkUp"]["dev"]["devType"], "DTU");
    terminal.say_link_up("1.1.0");
    terminal.expect(Channel::Response, message_type::LINK_UP);
    assert_eq!(site.get("terminals")["terminals"][0]["version"], "1.1.0");
    terminal.tell(
        Channel::Request,
        message_type::LINK_DOWN,
        json!({"reason": "reboot"}),
    );
    wait_for("offline", || {
        (site.get("terminals/t1")["online"] == false).then_some(())
    });
    terminal.tell(
        Channel::Request,
        message_type::HEARTBEAT,
        json!({"dau": {"freeBytes": 5}}),
    );
    wait_for("online", || {
        (site.get("terminals/t1")["online"] == true).then_some(())
    });
    assert_eq!(site.get("terminals/t1")["freeBytes"], 5);
}

#[test]
fn an_order_is_sent_again_until_it_is_answered() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let package = site.package("1.1.0");
    let job = site.order("t1", package);
    let (first_mid, first) = terminal.order();
    let (again_mid, again) = terminal.order();
    assert_eq!((first_mid, first.job_id), (again_mid, again.job_id));
    assert_ne!(first.file.token, again.file.token);
    terminal.reply(again_mid, message_type::UPGRADE, 202, json!({}));
    site.wait_state(job, "accepted");
    // Nothing waits any more: a link-up makes no order due, as would show when the next one is sent.
    terminal.link_up();
    let other = site.terminal("t2");
    site.order("t2", package);
    other.order();
    assert_eq!(sent(&site, job), 2);
}

#[test]
fn link_up_brings_the_order_at_once() {
    // By the clock it would be sent again only after an hour.
    let site = Site::start_with("[jobs]\nresend_seconds = 3600");
    let mut terminal = site.terminal("t1");
    let job = site.order("t1", site.package("1.1.0"));
    assert_eq!(terminal.order().1.job_id, job);
    terminal.say_link_up("1.0.0");
    assert_eq!(terminal.take_order().job_id, job);
    site.wait_state(job, "accepted");
}

#[test]
fn a_registered_terminal_finds_its_order_when_it_links_up_first() {
    let site = Site::start();
    let (status, _) = site.rest(attohttpc::Method::PUT, "terminals/t2", None);
    assert_eq!(status, 201);
    let job = site.order("t2", site.package("1.1.0"));
    let mut terminal = Terminal::connect(&site, "t2");
    terminal.say_link_up("1.0.0");
    assert_eq!(terminal.take_order().job_id, job);
}

#[test]
fn a_refused_order_is_a_result() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let job = site.order("t1", site.package("1.1.0"));
    let (mid, _) = terminal.order();
    terminal.reply(mid, message_type::UPGRADE, 400, json!({}));
    let found = site.wait_state(job, "finished");
    let result = &found["result"];
    assert_eq!(
        (&result["outcome"], &result["code"]),
        (&json!("refused"), &json!(400))
    );
    assert_eq!(result["message"], "said so");
}

/// A terminal that had carried out the order answers with the result's code, and sends the result
/// again.
#[test]
fn a_result_that_follows_a_refusal_is_the_result() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let job = site.order("t1", site.package("1.1.0"));
    let (mid, _) = terminal.order();
    terminal.reply(mid, message_type::UPGRADE, 500, json!({"jobId": job}));
    terminal.finish(job, 500, "rolled-back");
    assert_eq!(site.job(job)["result"]["outcome"], "rolled-back");
}

#[test]
fn a_terminal_has_one_job_at_a_time() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let (older, newer) = (site.package("1.1.0"), site.package("1.2.0"));
    let first = site.order("t1", older);
    let second = site.order("t1", newer);
    assert_eq!(terminal.take_order().job_id, first);
    assert_eq!(site.job(second)["state"], "queued");
    // The same order once more is the same job.
    assert_eq!(site.order("t1", newer), second);
    assert_eq!(site.order("t1", older), first);
    terminal.finish(first, 500, "failed");
    assert_eq!(terminal.take_order().job_id, second);
    terminal.finish(second, 200, "success");
    assert_eq!(site.get("terminals/t1")["job"], json!(null));
    // What is over can be ordered again.
    assert_ne!(site.order("t1", older), first);
}

#[test]
fn an_order_that_nobody_takes_expires() {
    let site = Site::start();
    site.rest(attohttpc::Method::PUT, "terminals/t1", None);
    let package = site.package("1.1.0");
    let job = site.order_with("t1", package, json!({"expire": 1}));
    let result = site.wait_state(job, "finished")["result"].clone();
    assert_eq!(
        (&result["outcome"], &result["code"]),
        (&json!("expired"), &json!(408))
    );
    // The terminal took it from the broker's queue all the same: it is told to stop, and its result
    // is put on record.
    let mut terminal = site.terminal("t1");
    terminal.progress(job, "downloading", 1, false);
    let cancel = terminal.expect(Channel::Command, message_type::JOB_CANCEL);
    assert_eq!(cancel.param["jobId"], job);
    terminal.finish(job, 408, "cancelled");
    assert_eq!(site.job(job)["result"], result);
    assert!(site.record(job).contains(&"late-result".to_owned()));
}

#[test]
fn a_job_is_called_off() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let first = site.order("t1", site.package("1.1.0"));
    let second = site.order("t1", site.package("1.2.0"));
    terminal.take_order();

    // Waiting: over at once, and the terminal never hears of it.
    let (status, found) = site.post(&format!("jobs/{second}/cancel"), json!({}));
    assert_eq!(
        (status, &found["result"]["outcome"]),
        (200, &json!("cancelled"))
    );
    // Under way: the terminal decides.
    let (status, found) = site.post(&format!("jobs/{first}/cancel"), json!({}));
    assert_eq!((status, &found["result"]), (202, &json!(null)));
    let cancel = terminal.expect(Channel::Command, message_type::JOB_CANCEL);
    assert_eq!(cancel.param["jobId"], first);
    terminal.reply(cancel.mid, message_type::JOB_CANCEL, 200, json!({}));
    terminal.finish(first, 408, "cancelled");
    assert_eq!(site.job(first)["result"]["outcome"], "cancelled");
    // Over: its result stays.
    let (status, problem) = site.post(&format!("jobs/{first}/cancel"), json!({}));
    assert_eq!((status, &problem["error"]), (409, &json!("finished")));
    let (status, _) = site.post("jobs/1/cancel", json!({}));
    assert_eq!(status, 404);
}

#[test]
fn the_job_of_a_lost_terminal_can_be_given_up() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let package = site.package("1.1.0");
    let job = site.order("t1", package);
    terminal.take_order();
    site.wait_state(job, "accepted");
    terminal.leave();
    let (status, found) = site.post(&format!("jobs/{job}/cancel"), json!({"abandon": true}));
    assert_eq!(
        (status, &found["result"]["word"]),
        (200, &json!("abandoned"))
    );
    assert_ne!(site.order("t1", package), job);
}

#[test]
fn a_dead_token_is_replaced_when_the_terminal_asks() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let job = site.order("t1", site.package("1.1.0"));
    let first = terminal.take_order();
    terminal.progress(job, "downloading", 30, true);
    // One that asks every moment gets no flood of tokens.
    for _ in 0..20 {
        terminal.progress(job, "downloading", 30, true);
    }
    let again = terminal.take_order();
    assert_eq!(again.job_id, job);
    assert_ne!(first.file.token, again.file.token);
    assert_eq!(site.job(job)["state"], "downloading");
    assert_eq!(sent(&site, job), 2);
}

#[test]
fn a_silent_terminal_is_asked() {
    let site = Site::start_with("[jobs]\nquery_seconds = 1");
    let mut terminal = site.terminal("t1");
    let job = site.order("t1", site.package("1.1.0"));
    terminal.take_order();
    let query = terminal.expect(Channel::Command, message_type::STATUS_QUERY);
    assert_eq!(query.param["jobId"], job);
    let status = json!({"jobId": job, "progress": 12, "state": 2});
    terminal.reply(query.mid, message_type::STATUS_QUERY, 200, status);
    assert_eq!(site.wait_state(job, "downloading")["progress"], 12);
    // A terminal that was flashed anew knows nothing; the job does not run for ever.
    let query = terminal.expect(Channel::Command, message_type::STATUS_QUERY);
    terminal.reply(query.mid, message_type::STATUS_QUERY, 400, json!({}));
    let found = site.wait_state(job, "finished");
    assert_eq!(found["result"]["word"], "unknown-to-terminal");
}

#[test]
fn attack_a_terminal_ends_the_job_of_another_one() {
    let site = Site::start();
    let (mut victim, mut attacker) = (site.terminal("t1"), site.terminal("t2"));
    let job = site.order("t1", site.package("1.1.0"));
    victim.take_order();
    site.wait_state(job, "accepted");
    attacker.report(job, 200, "success");
    let refused = attacker.expect(Channel::Response, message_type::JOB_RESULT);
    assert_eq!(refused.code, Some(403));
    attacker.progress(job, "trial", 1, false);
    attacker.reply(1, message_type::STATUS_QUERY, 404, json!({"jobId": job}));
    // Messages of one terminal are taken in their order: after this answer the others are through.
    attacker.link_up();
    assert_eq!(site.job(job)["state"], "accepted");
}

#[test]
fn attack_messages_that_make_no_sense() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let data = Topic::new("t1", Channel::Data).to_string();
    for payload in [
        &b""[..],
        b"{",
        b"\xff\xfe",
        b"[]",
        b"{\"mid\":1}",
        br#"{"mid":1,"type":"REP_JOB_RESULT"}"#,
        br#"{"mid":1,"type":"REP_JOB_RESULT","param":{"jobId":{}}}"#,
        br#"{"mid":1,"type":"REP_JOB_PROGRESS","param":{"jobId":1,"state":7,"progress":9999}}"#,
        br#"{"mid":1,"type":"EVENT_LINKUP","param":{"os":[]}}"#,
    ] {
        terminal.publish(&data, payload.to_vec());
    }
    terminal.publish(&data, vec![b' '; dau_protocol::MAX_MESSAGE - 100]);
    // Above the broker's limit: it goes no further than there.
    terminal.publish(&data, vec![b' '; dau_protocol::MAX_MESSAGE + 100]);
    terminal.link_up();
    let refused = terminal.tell(
        Channel::Data,
        message_type::JOB_RESULT,
        json!({"code": 200}),
    );
    let answer = terminal.expect(Channel::Response, message_type::JOB_RESULT);
    assert_eq!((answer.mid, answer.code), (refused, Some(400)));
}

/// An answer that quotes all of it would be longer than any message, and come again with every
/// connection to the broker.
#[test]
fn attack_messages_whose_answers_would_be_too_long() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let data = Topic::new("t1", Channel::Data).to_string();
    let quotes = "\"".repeat(dau_protocol::MAX_MESSAGE / 3);
    for message in [
        json!({"mid": 1, "type": message_type::JOB_RESULT, "param": {"jobId": quotes}}),
        json!({"mid": 1, "type": quotes, "code": "none"}),
    ] {
        terminal.publish(&data, message.to_string().into_bytes());
    }
    let answer = terminal.expect(Channel::Response, message_type::JOB_RESULT);
    assert_eq!((answer.mid, answer.code), (1, Some(400)));
    terminal.link_up();
}

/// Of another station, or of before this station's database: acknowledged, or the terminal would
/// repeat it for ever.
#[test]
fn the_result_of_an_unknown_job_is_acknowledged() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    terminal.finish(12345, 200, "success");
}
