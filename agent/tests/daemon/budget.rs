//! What a job may spend, over a link whose bytes are counted outside the agent.

use std::fs;
use std::time::Duration;

use crate::support::files::Fault;
use crate::support::packages::Wish;
use crate::support::proxy::Proxy;
use crate::support::station::order;
use crate::support::{wait_for, World};
use dau_handoff::layout::identity::SETTINGS;
use dau_handoff::Job;
use dau_protocol::report::JobDetails;
use dau_protocol::{code, MIN_BUDGET};
use serde_json::{json, Value};

/// Bytes after which the link drops.
const DROP_EVERY: u64 = 200_000;

/// A terminal whose only link counts, and the package that it is to fetch.
struct Counted {
    world: World,
    link: Proxy,
    /// The same link, to the file service.
    files: Proxy,
    package: Vec<u8>,
    url: String,
}

impl Counted {
    fn new(settings: &str) -> Self {
        let world = World::with_settings(settings);
        let link = Proxy::to(world.broker.port).unwrap();
        // On a link as fast as memory, what waits in the kernel's buffers would count as sent.
        link.limit(Some(4 << 20));
        let site = world.terminal.layout.identity().join(SETTINGS);
        let text = fs::read_to_string(&site).unwrap();
        let direct = format!("port = {}", world.broker.port);
        fs::write(
            &site,
            text.replace(&direct, &format!("port = {}", link.port())),
        )
        .unwrap();
        let package = world.maker.make(&Wish::default());
        let direct = world.files.offer("full.dau", package.clone());
        let files = link.beside(world.files.port()).unwrap();
        let url = direct.replace(&world.files.port().to_string(), &files.port().to_string());
        let mut counted = Counted {
            world,
            link,
            files,
            package,
            url,
        };
        counted.world.start();
        counted
    }

    fn size(&self) -> u64 {
        self.package.len() as u64
    }

    /// An order of the package.
    fn order(&self, id: i64, budget: u64) -> Value {
        let mut param = order(id, 3, "1.1.0", &self.url);
        param["dau"] = json!({ "budget": budget });
        param
    }

    /// Waits until a megabyte of job 7's package is on disk, and no more comes.
    fn wait_for_megabyte(&self) {
        let part = self.world.terminal.layout.part(7);
        wait_for("a megabyte", || {
            let length = part.metadata().ok()?.len();
            (length == 1_000_000 && self.world.files.is_stalled()).then_some(())
        });
    }

    /// Lets a job run to its result, which it gets after the download at the latest; what it says,
    /// and the bytes that were counted until the result was acknowledged.
    fn run(&mut self, id: i64, budget: u64) -> (JobDetails, u64) {
        let mut param = self.order(id, budget);
        param["file"]["md5"] = json!("0".repeat(32));
        let before = self.link.bytes();
        let answer = self.world.station.order(param);
        assert_eq!(answer.code, Some(code::ACCEPTED), "{}", answer.msg);
        let details = self.world.station.result(id).details.unwrap();
        self.world.station.acknowledge(id);
        let result = self.world.terminal.layout.result(id);
        wait_for("the acknowledgement", || {
            let job = Job::load(&result).unwrap();
            job.filter(Job::is_acknowledged)
        });
        (details, self.link.bytes() - before)
    }
}

/// `DAU_RUNS`: how many jobs.
#[test]
fn a_job_never_spends_more_than_its_budget_over_a_link_that_drops_and_stalls() {
    let runs = std::env::var("DAU_RUNS").map_or(6, |runs| runs.parse().unwrap());
    let mut counted = Counted::new("");
    let size = counted.size();
    let (mut most, mut fetched) = (0.0_f64, 0);
    for run in 0..runs {
        let silence = Duration::from_millis(run % 4 * 20);
        counted.link.drop_every(DROP_EVERY, silence);
        // From far too little to ample, and all that lies about what the package needs.
        let budget = match run % 6 {
            0 => size * 5 / 4,
            1 => size + size / 50 + run * 1_000,
            2 => MIN_BUDGET + run * 1_000,
            3 => size * 23 / 20,
            4 => size + run * 1_000,
            _ => size / 2,
        };
        let (details, spent) = counted.run(run as i64 + 1, budget);
        assert!(
            spent <= budget,
            "run {run}: {spent} of {budget}: {details:?}"
        );
        let used = details.bytes_used.unwrap();
        assert!(used <= budget, "run {run}: {used} of {budget}");
        match details.word.as_str() {
            "order-md5-mismatch" => {
                assert!(used + (32 << 10) >= spent, "run {run}: {used} {spent}");
                most = most.max(spent as f64 / size as f64);
                fetched += 1;
            }
            "budget" => assert!(budget < size * 23 / 20, "run {run}: {budget} {details:?}"),
            other => panic!("run {run}: {other}"),
        }
    }
    eprintln!(
        "{runs} jobs of {size} bytes, {fetched} to the end: at most {most:.4} times the package"
    );
    assert!(fetched > 0);
}

#[test]
fn a_package_that_does_not_fit_is_refused_before_its_first_megabyte() {
    let mut counted = Counted::new("");
    let size = counted.size();
    let (details, spent) = counted.run(1, size - 1);
    assert_eq!(
        (details.outcome.as_str(), details.word.as_str()),
        ("refused", "budget")
    );
    assert!(spent < 300_000, "{spent}");
    // Without a budget it is fetched.
    counted.world.station.acknowledge(1);
    let mut param = counted.order(2, 0);
    param["dau"] = json!(null);
    counted.world.station.order(param);
    counted.world.terminal.reboots();
}

#[test]
fn the_same_order_raises_the_budget_of_a_job_under_way() {
    for raised in [false, true] {
        let mut counted = Counted::new("");
        let size = counted.size();
        // What is there is of no use: all of it is to be fetched anew.
        let faults = [Fault::Stall(1_000_000), Fault::IgnoreRange];
        counted.world.files.faults(faults);
        let first = counted.order(7, size + 300_000);
        counted.world.station.order(first);
        counted.wait_for_megabyte();
        if raised {
            let again = counted.order(7, size * 3);
            let answer = counted.world.station.order(again);
            assert_eq!(answer.code, Some(code::ACCEPTED));
        }
        counted.link.cut();
        counted.world.files.let_go();
        match raised {
            true => counted.world.terminal.reboots(),
            false => {
                let details = counted.world.station.result(7).details.unwrap();
                assert_eq!(details.word, "budget");
                assert!(counted.link.bytes() < size);
            }
        }
    }
}

#[test]
fn what_was_spent_is_known_after_a_power_cut() {
    let mut counted = Counted::new("");
    let size = counted.size();
    counted.world.files.faults([Fault::Stall(1_000_000)]);
    let before = counted.link.bytes();
    let param = counted.order(7, size * 2);
    counted.world.station.order(param);
    counted.wait_for_megabyte();
    let spent = counted.link.bytes() - before;
    counted.world.terminal.kill();
    counted.world.files.let_go();
    counted.world.start();
    counted.world.terminal.reboots();
    let job = counted.world.terminal.job().unwrap();
    let all = counted.link.bytes() - before;
    assert!(job.bytes_used > spent, "{} {spent}", job.bytes_used);
    // At most a megabyte more than it was, as that is how far ahead the count is written.
    assert!(
        (all..=all + (1 << 20)).contains(&(job.bytes_used + (16 << 10))),
        "{} {all}",
        job.bytes_used
    );
}

#[test]
fn the_months_limit_counts_whatever_the_orders_say() {
    let mut counted = Counted::new("[download]\nmonthly_limit = 5000000\n");
    let size = counted.size();
    let (details, _) = counted.run(1, size * 2);
    assert_eq!(details.word, "order-md5-mismatch");
    counted.world.terminal.kill();
    counted.world.start();
    let (details, spent) = counted.run(2, size * 2);
    assert_eq!(details.word, "budget");
    assert!(spent < 300_000 && counted.files.port() > 0, "{spent}");
}
