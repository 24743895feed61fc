//! The daemon without a station: an OS on trial, and what it does where a step cannot be done.

use std::fs;
use std::path::Path;
use std::process::Command;

use dau_boot_state::{BootState, Operation, Store, COPY_NAMES};
use dau_handoff::layout::identity::TERMINAL_ID;
use dau_handoff::{Job, Layout, Order};
use dau_model::{Kind, Reason, Slot, State, Word};
use dau_protocol::{message_type, Channel, Envelope, Topic};
use dau_system::clock;
use dau_system::cmdline::BootReason;
use rumqttc::{Publish, QoS};
use serde_json::json;

use super::Daemon;
use crate::settings::Settings;
use crate::tasks::health::Checked;
use crate::tasks::Done;

/// Set in the process that can start no threads.
const CHILD: &str = "DAU_TEST_WITHOUT_THREADS";

/// An agent whose OS is on trial, with job 7 in this state.
fn on_trial(dir: &Path, state: Option<State>) -> Daemon {
    let at = dir.display();
    let layout = Layout::new(&dir.join("mnt"));
    fs::create_dir_all(layout.identity()).unwrap();
    fs::create_dir_all(dir.join("boot")).unwrap();
    fs::write(layout.identity().join(TERMINAL_ID), "T-0001\n").unwrap();
    fs::write(
        dir.join("os-release"),
        "NAME='Test OS'\nVERSION_ID=1.1.0\nDAU_PRODUCT=test\nDAU_ROLLBACK_INDEX=5\n",
    )
    .unwrap();
    let config = format!(
        "[station]\nhost = 'localhost'\nport = 1\n\
         [paths]\nmnt = '{at}/mnt'\nroot = '{at}/root'\nboot_directory = '{at}/boot'\n\
         keyring = '{at}/keyring'\nos_release = '{at}/os-release'\n\
         [reboot]\ncommand = ['true']\nforce_after = 0\n[watchdog]\ndevice = ''\n"
    );
    fs::write(dir.join("agent.toml"), config).unwrap();
    let boot = BootState::factory().committed(Slot::B, 2);
    Store::load(&dir.join("boot")).save(&boot).unwrap();
    let settings = Settings::load(&dir.join("agent.toml")).unwrap();
    let mut daemon = Daemon::start(settings).unwrap();
    daemon.command_line.reason = Some(BootReason::Trial);
    daemon.job = state.map(|state| {
        let mut job = Job::new(7, Order::sample(Kind::Full));
        job.force(state);
        job
    });
    daemon
}

fn boot(dir: &Path) -> BootState {
    Store::load(&dir.join("boot")).state().unwrap().clone()
}

/// An order of the station.
fn order() -> Publish {
    let param = json!({"jobId": 8, "version": "1.2.0", "upgradeType": 3, "policy": 600,
        "file": {"name": "x.dau", "url": "https://localhost/x"}});
    let order = Envelope::request(1, "T-0001", clock::now(), message_type::UPGRADE, param);
    let topic = Topic::new("T-0001", Channel::Command).to_string();
    Publish::new(topic, QoS::AtLeastOnce, order.to_bytes())
}

/// Whether this OS is still on trial, and the agent waits before it goes on.
fn waits(dir: &Path, daemon: &Daemon) -> bool {
    let boot = boot(dir);
    boot.trial && !boot.upgrade && daemon.timers.retry.is_some() && !daemon.rebooting
}

/// Runs the test of this name once more in processes that have no memory for another thread.
#[test]
fn an_os_on_trial_whose_checks_cannot_begin_stays_on_trial() {
    if let Some(state) = std::env::var_os(CHILD) {
        let state = (state == "trial").then_some(State::Trial);
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = on_trial(dir.path(), state);
        // Less than a thread's stack.
        limit_memory(memory() + (256 << 10));
        daemon.proceed();
        assert!(daemon.worker.is_none() && waits(dir.path(), &daemon));
        assert_eq!(daemon.job.as_ref().map(Job::state), state);
        return;
    }
    let name = "daemon::tests::an_os_on_trial_whose_checks_cannot_begin_stays_on_trial";
    for job in ["trial", "none"] {
        let output = Command::new("timeout")
            .arg("60")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, job)
            // Whatever else needs memory has it already.
            .env("MALLOC_ARENA_MAX", "1")
            .env("MALLOC_TOP_PAD_", "33554432")
            .output()
            .unwrap();
        assert!(output.status.success(), "{job}: {output:?}");
    }
}

/// Limits this process's address space, in bytes.
fn limit_memory(limit: u64) {
    let status = Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string()])
        .arg(format!("--as={limit}"))
        .status();
    assert!(status.unwrap().success());
}

/// The address space in use, in bytes.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let size = size.unwrap().trim().strip_suffix(" kB").unwrap();
    size.parse::<u64>().unwrap() << 10
}

#[test]
fn a_job_that_is_over_leaves_the_trial_to_the_next_boot() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = on_trial(dir.path(), Some(State::Finished));
    daemon.proceed();
    assert_eq!(daemon.outbox.unreported(), [7]);
    assert!(daemon.job.is_none() && daemon.worker.is_none());
}

#[test]
fn an_os_that_cannot_be_sent_back_now_is_sent_back_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = on_trial(dir.path(), Some(State::RollingBack));
    // Neither the copy that does not count can be written, nor a new one made.
    let copy = dir.path().join("boot").join(COPY_NAMES[1]);
    fs::create_dir(&copy).unwrap();
    fs::create_dir_all(copy.with_extension("bad").join("x")).unwrap();
    daemon.proceed();
    assert!(waits(dir.path(), &daemon));
    assert_eq!(daemon.outbox.unreported(), [0; 0]);
    fs::remove_dir(&copy).unwrap();
    daemon.proceed();
    assert!(boot(dir.path()).upgrade && daemon.rebooting);
    assert_eq!(boot(dir.path()).operation, Operation::Rollback);
}

/// As for a job: three reboots. RecoveryOS has no old OS to put back, and lets this one try again.
#[test]
fn an_unhealthy_os_without_a_job_does_not_reboot_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    for reboot in 0..4 {
        let mut daemon = on_trial(dir.path(), None);
        let reason = Reason::new(Word::HealthPort, "nothing answers");
        daemon.note(Done::Health(Checked::Unhealthy(reason)), None);
        assert_eq!(waits(dir.path(), &daemon), reboot == 3, "{reboot}");
        assert_eq!(boot(dir.path()).upgrade, reboot < 3, "{reboot}");
        if reboot == 3 {
            daemon.message(&order());
            assert!(daemon.job.is_none());
        }
    }
}

#[test]
fn an_os_is_not_sent_back_where_the_reboot_cannot_be_counted() {
    for state in [Some(State::RollingBack), None] {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = on_trial(dir.path(), state);
        let layout = daemon.settings.layout.clone();
        let places = [layout.job(), layout.rollback_tries()];
        for place in &places {
            fs::create_dir(place).unwrap();
        }
        let next = |daemon: &mut Daemon| daemon.arm(Operation::Rollback);
        assert!(!next(&mut daemon) && waits(dir.path(), &daemon));
        for place in &places {
            fs::remove_dir(place).unwrap();
        }
        assert!(!next(&mut daemon) && daemon.rebooting && boot(dir.path()).upgrade);
    }
}
