//! A terminal that goes down at any time: the next start goes on where things were.

use crate::support::packages::Wish;
use crate::support::station::order;
use crate::support::{wait_for, World};
use dau_boot_state::{BootState, Operation};
use dau_handoff::JobResult;
use dau_model::{Kind, Outcome, State, Word};
use dau_protocol::{code, message_type};
use dau_system::clock;

/// A world with job 7 ready for RecoveryOS.
fn armed(settings: &str) -> World {
    let mut world = World::with_settings(settings);
    world.start();
    let url = world
        .files
        .offer("full.dau", world.maker.make(&Wish::default()));
    world.station.order(order(7, 3, "1.1.0", &url));
    world.terminal.reboots();
    world
}

#[test]
fn every_state_before_the_flag_leads_to_the_flag() {
    let mut world = armed("");
    let states = [
        State::Accepted,
        State::Downloading,
        State::Verifying,
        State::BackingUp,
        State::Armed,
    ];
    for state in states {
        for candidate in [true, false] {
            if !candidate && state == State::Armed {
                continue;
            }
            world.terminal.change_job(|job| {
                job.force(state);
                job.reboots = 0;
            });
            world.terminal.set_boot(&BootState::factory());
            if !candidate {
                std::fs::remove_file(world.terminal.layout.candidate()).unwrap();
            }
            world.terminal.start();
            world.terminal.reboots();
            let (job, boot) = (world.terminal.job().unwrap(), world.terminal.boot());
            assert_eq!(job.state(), State::Armed, "from {state:?}");
            assert!(
                boot.upgrade && boot.operation == Operation::Install(Kind::Full),
                "from {state:?}: {boot:?}"
            );
            assert!(world.terminal.layout.candidate().exists());
        }
    }
}

#[test]
fn a_recovery_os_that_never_comes_ends_the_job() {
    let mut world = armed("");
    for _ in 0..2 {
        world.terminal.start();
        world.terminal.reboots();
    }
    world.terminal.start();
    let report = world.station.result(7);
    assert_eq!(report.details.unwrap().word, "recovery-unreachable");
    let boot = world.terminal.boot();
    assert!(!boot.upgrade && !boot.trial, "{boot:?}");
}

#[test]
fn a_confirmation_that_was_cut_short_is_completed() {
    let mut world = armed("");
    world.terminal.recovery_installs("1.1.0");
    let boot = world.terminal.boot();
    world.terminal.set_boot(&boot.steady(boot.kernel));
    world.terminal.start();
    let report = world.station.result(7);
    let details = report.details.unwrap();
    assert_eq!(
        (report.code, details.outcome.as_str()),
        (code::OK, "success")
    );
    assert_eq!(details.parameters_before, details.parameters_after);
    assert!(world.terminal.layout.installed().exists());
}

#[test]
fn an_os_that_fails_a_health_check_is_given_back() {
    let mut world = armed("");
    world.terminal.recovery_installs("1.1.0");
    world
        .terminal
        .health_check("10-relay", "echo relay 3 is stuck; exit 1");
    world.terminal.start();
    world.terminal.reboots();
    let (job, boot) = (world.terminal.job().unwrap(), world.terminal.boot());
    assert!(
        boot.upgrade && boot.operation == Operation::Rollback,
        "{boot:?}"
    );
    assert_eq!(job.state(), State::RollingBack);
    let reason = job.rollback_reason().unwrap().clone();
    assert_eq!(reason.word, Word::HealthExecutable);
    assert!(reason.message.contains("relay 3 is stuck"), "{reason}");

    // RecoveryOS's part.
    world.terminal.change_job(|job| {
        job.finish(JobResult::new(Outcome::RolledBack, reason));
    });
    world.terminal.set_version("1.0.0");
    world
        .terminal
        .set_boot(&world.terminal.boot().steady(dau_model::Slot::A));
    world.terminal.start();
    let report = world.station.result(7);
    let details = report.details.unwrap();
    assert_eq!(details.outcome, "rolled-back");
    assert_eq!(details.word, "health-executable");
    assert_eq!(details.version_after, "1.0.0");
    assert_eq!(details.parameters_before, details.parameters_after);
    assert!(report.msg.contains("relay 3 is stuck"), "{}", report.msg);
}

#[test]
fn parameters_that_did_not_come_back_are_a_reason_to_return() {
    let mut world = armed("");
    world.terminal.recovery_installs("1.1.0");
    let path = world.terminal.parameter();
    std::fs::write(path, "trip = 0\n").unwrap();
    world.terminal.start();
    world.terminal.reboots();
    assert_eq!(world.terminal.boot().operation, Operation::Rollback);
    let job = world.terminal.job().unwrap();
    let reason = job.rollback_reason().unwrap();
    assert_eq!(reason.word, Word::HealthParameters);
    assert!(reason.message.contains("settings.conf"), "{reason}");
}

#[test]
fn an_os_without_a_link_is_given_back() {
    let mut world = armed("[health]\nlink_timeout = 1\n");
    world.terminal.recovery_installs("1.1.0");
    world.broker.stop();
    world.terminal.start();
    world.terminal.reboots();
    let job = world.terminal.job().unwrap();
    let reason = job.rollback_reason().unwrap();
    assert_eq!(reason.word, Word::HealthLink);
    assert!(reason.message.contains("station"), "{reason}");
}

#[test]
fn each_health_check_fails_under_its_own_word() {
    for (settings, version, word) in [
        ("tcp_ports = [9]", "1.1.0", Word::HealthPort),
        ("services = [\"relayd\"]", "1.1.0", Word::HealthService),
        ("", "1.0.9", Word::HealthVersion),
    ] {
        let mut world = armed(&format!("[health]\ntimeout = 1\n{settings}\n"));
        world.terminal.recovery_installs("1.1.0");
        world.terminal.set_version(version);
        world.terminal.start();
        world.terminal.reboots();
        let job = world.terminal.job().unwrap();
        assert_eq!(job.rollback_reason().unwrap().word, word);
    }
}

#[test]
fn an_os_on_trial_without_a_job_proves_itself_too() {
    // Only the boot state knows: an agent that finds a damaged job file looks there.
    let mut world = armed("");
    world.terminal.recovery_installs("1.1.0");
    std::fs::write(world.terminal.layout.job(), "{\"id\": 7, ").unwrap();
    world.start();
    wait_for("the confirmation", || {
        (!world.terminal.boot().trial).then_some(())
    });
    assert!(world.terminal.runs());
}

#[test]
fn a_result_outlives_station_broker_and_terminal() {
    let mut world = armed("");
    world.terminal.recovery_installs("1.1.0");
    world.start();
    world.station.result(7);
    // Not acknowledged: the terminal goes down, then the broker.
    world.terminal.kill();
    world.broker.restart();
    world.terminal.start();
    let report = world.station.result(7);
    assert_eq!(report.code, code::OK);
    world.broker.restart();
    world.station.result(7);
    world.station.acknowledge(7);
    wait_for("the acknowledgement", || {
        world.terminal.log().contains("taken note").then_some(())
    });
    world.terminal.kill();
    world.start();
    assert!(world.terminal.job().is_none());
    // What a start reports goes out before any answer.
    let query = serde_json::json!({"jobId": 7});
    world.station.ask(message_type::STATUS_QUERY, query);
    let log = world.terminal.log();
    assert!(
        !log.contains(message_type::JOB_RESULT),
        "reported again after the acknowledgement"
    );
}

#[test]
fn where_stations_never_answer_the_broker_takes_note() {
    let mut world = armed("[mqtt]\nresult_acknowledgement = 'broker'\n");
    world.terminal.recovery_installs("1.1.0");
    world.terminal.start();
    assert_eq!(world.station.result(7).code, code::OK);
    wait_for("the acknowledgement", || {
        world.terminal.log().contains("taken note").then_some(())
    });
}

/// No later start goes below it, and only a station's certificate shows that it is about right.
#[test]
fn the_time_is_kept_only_where_there_was_a_link() {
    let mut world = World::new();
    let kept = world.terminal.layout.clock();
    let before = clock::now();
    world.start();
    assert!(world.terminal.stop().success());
    assert!(clock::saved(&kept).unwrap() >= before);

    clock::save(&kept, 1).unwrap();
    world.broker.stop();
    world.terminal.start();
    wait_for("an attempt to connect", || {
        world.terminal.log().contains("no connection").then_some(())
    });
    assert!(world.terminal.stop().success());
    assert_eq!(clock::saved(&kept), Some(1));
}
