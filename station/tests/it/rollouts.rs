//! Rollouts, as an operator runs them.

use attohttpc::Method;
use dau_protocol::message_type;
use dau_protocol::topic::Channel;
use serde_json::{json, Value};

use crate::site::{wait_for, Site};
use crate::terminal::Terminal;

fn in_state(site: &Site, id: i64, state: &str) -> Value {
    wait_for(&format!("rollout {state}"), || {
        let rollout = site.get(&format!("rollouts/{id}"));
        (rollout["state"] == state).then_some(rollout)
    })
}

fn plan(site: &Site, count: usize, plan: Value) -> i64 {
    let terminals: Vec<String> = (1..=count).map(|index| format!("t{index}")).collect();
    let wanted = json!({"terminals": terminals, "package": site.package("1.1.0"), "plan": plan});
    let (status, rollout) = site.post("rollouts", wanted);
    assert_eq!(status, 202, "{rollout}");
    let id = rollout["id"].as_i64().unwrap();
    in_state(site, id, "draft");
    id
}

fn act(site: &Site, id: i64, act: &str) -> (u16, Value) {
    site.post(&format!("rollouts/{id}/{act}"), json!({}))
}

fn upgrade(terminal: &mut Terminal, code: u16, outcome: &str) {
    let job = terminal.take_order().job_id;
    terminal.finish(job, code, outcome);
}

#[test]
fn one_fails_everything_stops_and_after_a_retry_all_succeed_whatever_is_killed() {
    let mut site = Site::start();
    let (mut one, mut two) = (site.terminal("t1"), site.terminal("t2"));
    let wave = json!({"failure": {"words": ["rolled-back"]}});
    let id = plan(&site, 2, json!({"waves": [wave]}));
    let preview = site.get(&format!("rollouts/{id}/preview"));
    assert_eq!(
        preview["rollout"]["waves"][0]["counts"],
        json!({"waiting": 2})
    );
    assert_eq!(act(&site, id, "start").0, 200);
    let failing = one.take_order().job_id;
    let armed = two.take_order().job_id;
    two.progress(armed, "armed", 0, false);
    site.wait_state(armed, "armed");
    site.kill_station();
    site.start_station();
    one.finish(failing, 500, "rolled-back");
    let stopped = in_state(&site, id, "stopped");
    assert_eq!(stopped["why"], "word", "{stopped}");
    assert_eq!(stopped["failures"][0]["word"], "rolled-back");
    assert!(stopped["failures"][0]["advice"].is_string(), "{stopped}");
    two.finish(armed, 200, "success");
    assert_eq!(act(&site, id, "retry").0, 200);
    upgrade(&mut one, 200, "success");
    let ended = in_state(&site, id, "ended");
    assert_eq!(ended["why"], "done");
    assert_eq!(ended["counts"], json!({"success": 2}));
    assert_eq!(
        site.get("jobs")["jobs"].as_array().unwrap().len(),
        3,
        "nothing twice"
    );
    let shown = site.cli(&["rollout", "show", &id.to_string()]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("2 success"), "{shown}");
}

#[test]
fn a_stop_takes_back_what_is_not_armed_and_says_when_the_last_one_had_it() {
    let site = Site::start();
    let mut terminals: Vec<Terminal> = (1..=2)
        .map(|index| site.terminal(&format!("t{index}")))
        .collect();
    let id = plan(&site, 2, json!({"waves": [{}]}));
    act(&site, id, "start");
    let jobs: Vec<i64> = terminals
        .iter_mut()
        .map(|terminal| terminal.take_order().job_id)
        .collect();
    jobs.iter()
        .for_each(|job| drop(site.wait_state(*job, "accepted")));
    let (status, stopped) = site.post("stop", json!({}));
    assert_eq!(
        (status, &stopped["rollouts"]),
        (202, &json!(1)),
        "{stopped}"
    );
    for (terminal, job) in terminals.iter_mut().zip(jobs) {
        let cancel = terminal.expect(Channel::Command, message_type::JOB_CANCEL);
        terminal.reply(cancel.mid, message_type::JOB_CANCEL, 200, json!({}));
        terminal.finish(job, 408, "cancelled");
    }
    let reached = wait_for("all have it", || {
        let rollout = site.get(&format!("rollouts/{id}"));
        rollout["stop"]["seconds"].is_number().then_some(rollout)
    });
    assert_eq!(
        (&reached["state"], &reached["counts"]),
        (&json!("stopped"), &json!({"waiting": 2}))
    );
    assert_eq!(site.get("stop"), json!({"toReach": 0, "linked": 0}));
}

#[test]
fn a_rollout_that_needs_a_second_person_does_not_start_by_its_own() {
    let site = Site::start_with("[rollouts]\napprove_above = 0");
    let _terminal = site.terminal("t1");
    let id = plan(&site, 1, json!({"waves": [{}]}));
    let (_, waits) = act(&site, id, "start");
    assert_eq!(waits["state"], "approval");
    let (status, refused) = act(&site, id, "approve");
    assert_eq!((status, &refused["error"]), (403, &json!("own-rollout")));
    let (status, _) = act(&site, id, "resume");
    assert_eq!(status, 409);
    assert_eq!(act(&site, id, "stop").1["why"], "withdrawn");
    assert_eq!(site.get("jobs")["jobs"], json!([]));
}

#[test]
fn a_plan_that_cannot_work_is_refused_with_the_reason() {
    let site = Site::start();
    let package = site.package("1.1.0");
    let cases = [
        (json!({"all": true, "plan": {"waves": []}}), 400, "waves"),
        (json!({"plan": {"waves": [{}]}}), 400, "terminals"),
        (
            json!({"filter": "feedr=1", "plan": {"waves": [{}]}}),
            400,
            "feedr",
        ),
        (
            json!({"all": true, "plan": {"waves": [{}]}}),
            404,
            "terminal",
        ),
        (
            json!({"all": true, "type": "full", "plan": {"waves": [{}]}}),
            409,
            "kernel",
        ),
    ];
    site.terminal("t1").leave();
    for (mut wanted, expected, named) in cases {
        wanted["package"] = json!(package);
        if expected == 404 {
            wanted = json!({"filter": "feeder=none", "package": package, "plan": {"waves": [{}]}});
        }
        let (status, refused) = site.post("rollouts", wanted.clone());
        assert_eq!(status, expected, "{wanted}: {refused}");
        assert!(
            refused["message"].as_str().unwrap().contains(named),
            "{refused}"
        );
    }
    let (status, _) = site.rest(Method::GET, "rollouts/1", None);
    assert_eq!(status, 404);
}
