//! Jobs that would not end: each ends by itself, or is called off, and the next order is taken.

use std::fs;

use crate::support::packages::Wish;
use crate::support::station::order;
use crate::support::{wait_for, World};
use dau_handoff::{Job, JobResult, Order};
use dau_model::{Kind, Outcome, Reason, State, Word};
use dau_protocol::{code, message_type};
use dau_system::clock;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

/// A job 7 as an earlier version of the agent may have left it.
pub fn leave_job(world: &World, url: &str, start_at: u64, state: State) {
    let order = Order {
        url: url.into(),
        start_at,
        ..Order::sample(Kind::Full)
    };
    let mut job = Job::new(7, order);
    job.force(state);
    job.save(&world.terminal.layout.job()).unwrap();
}

/// Job 7 ends with this word, and job 8 is carried out.
fn ends(world: &mut World, word: &str) {
    let details = world.station.result(7).details.unwrap();
    assert_eq!(details.word, word);
    world.station.acknowledge(7);
    let url = world
        .files
        .offer("full.dau", world.maker.make(&Wish::default()));
    let answer = world.station.order(order(8, 3, "1.1.0", &url));
    assert_eq!(answer.code, Some(code::ACCEPTED), "{}", answer.msg);
    world.terminal.reboots();
    assert_eq!(world.terminal.job().unwrap().id, 8);
}

/// Job 7 with a package of which not one byte can be read: the work on it hangs.
fn hanging(settings: &str) -> World {
    let world = World::with_settings(settings);
    leave_job(&world, "https://localhost/x", 0, State::Verifying);
    mkfifo(&world.terminal.layout.candidate(), Mode::S_IRWXU).unwrap();
    world
}

#[test]
fn a_url_that_an_earlier_agent_took_ends_the_job() {
    for url in ["https://station:84433/x", "https://::1:8443/x", "https://"] {
        for state in [State::Accepted, State::Downloading] {
            let mut world = World::new();
            leave_job(&world, url, 0, state);
            world.start();
            let details = world.station.result(7).details.unwrap();
            assert_eq!(
                (details.outcome.as_str(), details.word.as_str()),
                ("failed", "url")
            );
            assert!(world.terminal.job().is_none() && world.terminal.runs());
        }
    }
}

#[test]
fn a_policy_that_an_earlier_agent_took_ends_the_job() {
    for start_at in [clock::now() + 1_000_000_000_000, u64::MAX] {
        let mut world = World::new();
        leave_job(&world, "https://localhost/x", start_at, State::Accepted);
        world.start();
        ends(&mut world, "policy");
    }
}

#[test]
fn work_that_ends_the_agent_three_times_ends_the_job() {
    let mut world = hanging("");
    for ends in 0..3 {
        world.terminal.start();
        wait_for("the work", || {
            let job = world.terminal.job()?;
            (job.work?.ends == ends).then_some(())
        });
        world.terminal.kill();
    }
    world.start();
    ends(&mut world, "attempts");
}

#[test]
fn an_agent_that_is_stopped_in_its_work_does_not_hold_it_against_the_job() {
    let mut world = hanging("");
    for _ in 0..5 {
        world.terminal.start();
        wait_for("the work", || world.terminal.job()?.work);
        assert!(world.terminal.stop().success());
        assert_eq!(world.terminal.job().unwrap().work, None);
    }
}

#[test]
fn work_that_stands_still_three_times_ends_the_job() {
    let mut world = hanging("[watchdog]\nwork_timeout = 1\n");
    for _ in 0..3 {
        world.terminal.start();
        wait_for("the agent's end", || (!world.terminal.runs()).then_some(()));
        world.terminal.kill();
    }
    world.start();
    ends(&mut world, "attempts");
}

#[test]
fn work_that_hangs_is_called_off() {
    let mut world = hanging("");
    world.start();
    let answer = world
        .station
        .ask(message_type::JOB_CANCEL, json!({"jobId": 7}));
    assert_eq!(answer.code, Some(code::OK));
    ends(&mut world, "cancelled");
}

/// The job file could not be removed when the result was kept.
#[test]
fn a_job_that_has_its_result_does_not_go_on_after_a_restart() {
    let mut world = World::new();
    leave_job(&world, "https://", 0, State::Downloading);
    world.start();
    assert_eq!(world.station.result(7).details.unwrap().word, "url");
    world.terminal.kill();
    let url = world
        .files
        .offer("full.dau", world.maker.make(&Wish::default()));
    leave_job(&world, &url, 0, State::BackingUp);
    world.start();
    assert_eq!(world.station.result(7).details.unwrap().word, "url");
    assert!(world.terminal.job().is_none());
    assert!(world.files.requests().is_empty());
}

/// Power went between the result's own file and the history, or the history is damaged.
#[test]
fn a_result_counts_though_the_history_lacks_it() {
    let mut world = World::new();
    leave_job(&world, "https://localhost/x", 0, State::Verifying);
    let mut over = world.terminal.job().unwrap();
    let reason = Reason::new(Word::Cancelled, "called off by the station");
    over.finish(JobResult::new(Outcome::Cancelled, reason));
    over.save(&world.terminal.layout.result(7)).unwrap();
    let url = world
        .files
        .offer("full.dau", world.maker.make(&Wish::default()));
    world.terminal.change_job(|job| job.order.url = url.clone());
    world.start();
    assert_eq!(world.station.result(7).details.unwrap().word, "cancelled");
    assert!(world.terminal.job().is_none());

    world.terminal.kill();
    fs::write(world.terminal.layout.history(), "{").unwrap();
    world.start();
    let answer = world.station.order(order(7, 3, "1.1.0", &url));
    assert_ne!(answer.code, Some(code::ACCEPTED), "{}", answer.msg);
    assert!(world.terminal.job().is_none());
    assert!(world.files.requests().is_empty());
}

/// As on a medium that takes no more files: the job file keeps the result, and nothing goes on.
#[test]
fn a_result_that_has_no_place_of_its_own_stays_with_the_job() {
    let mut world = World::new();
    let place = world.terminal.layout.result(7);
    fs::create_dir(&place).unwrap();
    leave_job(&world, "https://", 0, State::Downloading);
    for _ in 0..2 {
        world.start();
        assert_eq!(world.station.result(7).details.unwrap().word, "url");
        let state = world.terminal.job().unwrap().state();
        assert!(matches!(state, State::Finished), "{state:?}");
        world.terminal.kill();
    }
    fs::remove_dir(&place).unwrap();
    world.start();
    wait_for("the result's own place", || {
        world.terminal.job().is_none().then_some(())
    });
    ends(&mut world, "url");
}

#[test]
fn half_written_files_are_gone_after_a_start() {
    let mut world = World::new();
    let layout = &world.terminal.layout;
    let left = [
        layout.backups().join(".7.tar.tmp"),
        layout.root().join(".job.json.tmp"),
        layout.results().join(".7.json.tmp"),
    ];
    for path in &left {
        fs::write(path, "half").unwrap();
    }
    world.start();
    for path in left {
        assert!(!path.exists(), "{}", path.display());
    }
}
