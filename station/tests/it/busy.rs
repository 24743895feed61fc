//! Terminals that are busy with another job.

use attohttpc::Method;
use dau_protocol::{message_type, Channel};
use serde_json::json;

use crate::site::{wait_for, Site};
use crate::terminal::Terminal;

/// The order is not sent again because the machine is slow.
const PATIENT: &str = "[jobs]\nresend_seconds = 60\nbusy_seconds = 1\n";

/// Orders a job that `t1` refuses, as it is busy with job 4.
fn busy(site: &Site) -> (Terminal, i64) {
    let mut terminal = site.terminal("t1");
    let job = site.order("t1", site.package("1.1.0"));
    let (mid, _) = terminal.order();
    let param = json!({"jobId": job, "busyWith": 4});
    terminal.reply(mid, message_type::UPGRADE, 403, param);
    (terminal, job)
}

#[test]
fn a_busy_terminal_is_asked_again_later() {
    let site = Site::start_with(PATIENT);
    let (mut terminal, job) = busy(&site);
    wait_for("the wait to be recorded", || {
        site.record(job).contains(&"waits".to_owned()).then_some(())
    });
    assert_eq!(terminal.take_order().job_id, job);
    site.wait_state(job, "accepted");
}

#[test]
fn what_keeps_a_terminal_busy_is_shown_and_called_off_whoever_ordered_it() {
    let site = Site::start_with(PATIENT);
    let (mut terminal, job) = busy(&site);
    wait_for("the other job to be known", || {
        (site.get("terminals/t1")["busyWith"] == 4).then_some(())
    });
    let said = site.cli(&["cancel", "--terminal", "t1"]);
    assert!(said.status.success(), "{said:?}");
    let cancel = terminal.expect(Channel::Command, message_type::JOB_CANCEL);
    assert_eq!(cancel.param["jobId"], 4);
    terminal.finish(4, 408, "cancelled");
    assert_eq!(site.get("terminals/t1")["busyWith"], json!(null));
    assert_eq!(terminal.take_order().job_id, job);
    // By its number, which another station may know.
    let (status, answer) = site.post("terminals/t1/cancel", json!({"job": 5}));
    assert_eq!((status, &answer["own"]), (202, &json!(false)));
    let cancel = terminal.expect(Channel::Command, message_type::JOB_CANCEL);
    assert_eq!(cancel.param["jobId"], 5);
    let (status, answer) = site.post("terminals/t1/cancel", json!({}));
    assert_eq!((status, &answer["job"]), (202, &json!(job)));
    assert_eq!(site.post("terminals/nobody/cancel", json!({})).0, 404);
    site.rest(Method::PUT, "terminals/idle", None);
    let (status, problem) = site.post("terminals/idle/cancel", json!({}));
    assert_eq!((status, &problem["error"]), (409, &json!("not-busy")));
}
