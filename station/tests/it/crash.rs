//! kill -9 of the station, the broker, or both: no job and no result is lost or repeated.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dau_protocol::{message_type, Channel, Upgrade};
use serde_json::json;

use crate::site::{wait_for, Site};
use crate::terminal::Terminal;

#[test]
fn an_order_survives_the_station() {
    let mut site = Site::start();
    let mut terminal = site.terminal("t1");
    let job = site.order("t1", site.package("1.1.0"));
    site.kill_station();
    site.start_station();
    // Sent once or twice, it is the same job.
    assert_eq!(terminal.take_order().job_id, job);
    site.wait_state(job, "accepted");
    terminal.finish(job, 200, "success");
}

/// The terminal reports once while the station is down, and the broker dies too before the station
/// is back.
#[test]
fn a_result_survives_the_broker_while_the_station_is_down() {
    let mut site = Site::start();
    let mut terminal = site.terminal("t1");
    let job = site.order("t1", site.package("1.1.0"));
    terminal.take_order();
    site.wait_state(job, "accepted");
    site.kill_station();
    terminal.report(job, 200, "success");
    terminal.wait_acknowledged();
    let saved = site.path("station/broker/mosquitto.db");
    let result = message_type::JOB_RESULT.as_bytes();
    wait_for("the broker to save the result", || {
        let saved = std::fs::read(&saved).ok()?;
        saved
            .windows(result.len())
            .any(|text| text == result)
            .then_some(())
    });
    terminal.leave();
    site.kill_broker();
    site.start_broker();
    site.start_station();
    let found = site.wait_state(job, "finished");
    assert_eq!(found["result"]["outcome"], "success");
    let terminal = Terminal::connect(&site, "t1");
    let acknowledged = terminal.expect(Channel::Response, message_type::JOB_RESULT);
    assert_eq!(acknowledged.code, Some(200));
}

#[test]
fn an_order_survives_a_broker_that_forgot_everything() {
    let mut site = Site::start();
    site.rest(attohttpc::Method::PUT, "terminals/t1", None);
    let job = site.order("t1", site.package("1.1.0"));
    wait_for("the order to be sent", || {
        site.record(job).contains(&"sent".to_owned()).then_some(())
    });
    site.kill_broker();
    let database = site.path("station/broker/mosquitto.db");
    let _ = std::fs::remove_file(database);
    site.start_broker();
    wait_for("the link", || {
        (site.get("healthz")["broker"] == true).then_some(())
    });
    let mut terminal = Terminal::connect(&site, "t1");
    terminal.say_link_up("1.0.0");
    assert_eq!(terminal.take_order().job_id, job);
}

#[test]
fn uploads_and_records_survive_the_station() {
    let mut site = Site::start();
    let package = site.package("1.1.0");
    let before = site.get(&format!("packages/{package}"));
    site.kill_station();
    site.start_station();
    assert_eq!(site.get(&format!("packages/{package}")), before);
    let database = site.database.open();
    let error = database.run("DELETE FROM events").unwrap_err();
    assert!(error.contains("never removed"), "{error}");
    let error = database.run("UPDATE events SET kind = 'x'").unwrap_err();
    assert!(error.contains("never changed"), "{error}");
}

/// A terminal that behaves as the agent: accepts every order once, reports until it is
/// acknowledged.
pub fn obey(mut terminal: Terminal, stop: &AtomicBool) -> Vec<i64> {
    let mut done: Vec<i64> = Vec::new();
    let mut open: Option<i64> = None;
    while !stop.load(Ordering::Relaxed) {
        let next = terminal.next(Duration::from_millis(300));
        let Some((_, message)) = next else {
            // Links up again, as after a reconnection.
            terminal.say_link_up("1.0.0");
            if let Some(job) = open {
                terminal.report(job, 200, "success");
            }
            continue;
        };
        match message.message_type.as_str() {
            message_type::UPGRADE => {
                let job = Upgrade::from_envelope(&message).unwrap().job_id;
                let code = if done.contains(&job) { 200 } else { 202 };
                terminal.reply(
                    message.mid,
                    message_type::UPGRADE,
                    code,
                    json!({"jobId": job}),
                );
                if !done.contains(&job) {
                    done.push(job);
                    open = Some(job);
                }
                terminal.report(job, 200, "success");
            }
            message_type::JOB_RESULT if open == message.param["jobId"].as_i64() => open = None,
            _ => {}
        }
    }
    done
}

#[test]
fn jobs_go_on_while_everything_is_killed_again_and_again() {
    jobs_go_on(Site::start(), |_| ());
}

pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets terminals take and finish jobs while station and broker are killed, and what `more` kills in
/// each round.
pub fn jobs_go_on(mut site: Site, mut more: impl FnMut(usize)) {
    let terminals = [site.terminal("t1"), site.terminal("t2")];
    let packages: Vec<i64> = ["1.1.0", "1.2.0", "1.3.0"]
        .map(|version| site.package(version))
        .to_vec();
    let stop = AtomicBool::new(false);
    let mut jobs = Vec::new();
    let done = thread::scope(|scope| {
        // Whatever fails below ends the terminals too.
        let _stop = Stop(&stop);
        let obeying = terminals.map(|terminal| scope.spawn(|| obey(terminal, &stop)));
        for (round, package) in packages.into_iter().enumerate() {
            for terminal in ["t1", "t2"] {
                jobs.push((terminal, site.order(terminal, package)));
            }
            // At another moment of the traffic each time.
            thread::sleep(Duration::from_millis(40 * round as u64));
            more(round);
            if round != 1 {
                site.kill_station();
            }
            if round != 0 {
                site.kill_broker();
                site.start_broker();
            }
            if round != 1 {
                site.start_station();
            }
        }
        for (_, job) in &jobs {
            site.wait_state(*job, "finished");
        }
        stop.store(true, Ordering::Relaxed);
        obeying.map(|handle| handle.join().unwrap())
    });
    for (terminal, job) in &jobs {
        let found = site.job(*job);
        assert_eq!(found["result"]["outcome"], "success", "{found}");
        let results = found["events"].as_array().unwrap().iter();
        let results = results.filter(|event| event["kind"] == "result").count();
        assert_eq!(results, 1, "{found}");
        let index = usize::from(*terminal == "t2");
        let taken = done[index].iter().filter(|taken| *taken == job).count();
        assert_eq!(taken, 1, "{terminal} took job {job} {taken} times");
    }
}
