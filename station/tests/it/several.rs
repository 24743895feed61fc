//! Two stations on one database and one broker: either may be killed at any time.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use attohttpc::Method;
use dau_protocol::{message_type, Upgrade};
use serde_json::{json, Value};

use crate::crash::{obey, Stop};
use crate::database::{Database, Server};
use crate::port::free_port;
use crate::postgresql::folder;
use crate::site::{wait_for, Process, Site};
use crate::terminal::Terminal;

/// No order is sent again because a machine is slow.
const PATIENT: &str = "[jobs]\nresend_seconds = 60\nbusy_seconds = 1\n";

/// A site with two stations; the site's own requests go to the one that was chosen last.
struct Pair {
    site: Site,
    ports: [u16; 2],
    running: [Option<Process>; 2],
    _server: Server,
    _dir: tempfile::TempDir,
}

impl Pair {
    fn start(settings: &str) -> Self {
        let dir = folder();
        let server = Server::start(&dir.path().join("pg"));
        let mut site = Site::prepare_on(settings, Some(Database::new_at(&server.url)));
        let ports = [site.https_port, free_port().unwrap()];
        site.pki.add_terminal("station-2").unwrap();
        let config = site.path("station/station.toml");
        let base = std::fs::read_to_string(&config).unwrap();
        let shared = site.path("shared");
        let several = |name: &str| {
            let group = format!("[mqtt]\nshare = \"dau\"\nclient_id = \"{name}\"\n");
            let text = base.replacen("[mqtt]\n", &group, 1);
            format!("shared_dir = \"{}\"\n{text}", shared.display())
        };
        std::fs::write(&config, several("station")).unwrap();
        let (certificate, key) = site.pki.tls_identity("terminals/station-2");
        let of_first = site.pki.tls_identity("station-mqtt");
        let second = several("station-2")
            .replacen("\"data\"", "\"data-2\"", 1)
            .replacen(&ports[0].to_string(), &ports[1].to_string(), 1)
            .replacen(
                of_first.0.to_str().unwrap(),
                certificate.to_str().unwrap(),
                1,
            )
            .replacen(of_first.1.to_str().unwrap(), key.to_str().unwrap(), 1);
        std::fs::write(site.path("station/station-2.toml"), second).unwrap();
        // As docs/station.md says: the same rights under the other name.
        let acl = site.path("station/acl");
        let text = std::fs::read_to_string(&acl).unwrap();
        let (block, _) = text.split_once("# Every terminal").unwrap();
        let mut lines = block.lines();
        let name = lines.find_map(|line| line.strip_prefix("user ")).unwrap();
        let second = block
            .replace(&format!("user {name}\n"), "user station-2\n")
            .replace(&format!("/v1/station/{name}"), "/v1/station/station-2");
        std::fs::write(&acl, format!("{text}\n{second}")).unwrap();
        site.start_broker();
        let mut pair = Pair {
            site,
            ports,
            running: [None, None],
            _server: server,
            _dir: dir,
        };
        pair.run(0);
        pair.run(1);
        pair
    }

    fn log(&self, station: usize) -> PathBuf {
        self.site.path(["station.log", "station-2.log"][station])
    }

    /// Starts a station, and waits for its link to the broker.
    fn run(&mut self, station: usize) {
        let config = ["station/station.toml", "station/station-2.toml"][station];
        let config = self.site.path(config);
        let args = ["serve", "--config", config.to_str().unwrap()];
        let program = env!("CARGO_BIN_EXE_dau-station");
        self.running[station] = Some(Process::start(program, &args, &self.log(station)));
        self.choose(station);
        wait_for("the station's link to the broker", || {
            let (_, health) = self.site.try_rest(Method::GET, "healthz", None)?;
            (health["broker"] == true).then_some(())
        });
    }

    /// kill -9
    fn kill(&mut self, station: usize) {
        self.running[station] = None;
    }

    fn choose(&mut self, station: usize) {
        self.site.https_port = self.ports[station];
    }

    /// Orders through a station; returns the job.
    fn order(&mut self, station: usize, terminal: &str, package: i64) -> i64 {
        self.choose(station);
        self.site.order(terminal, package)
    }
}

fn count(found: &Value, kind: &str) -> usize {
    let events = found["events"].as_array().unwrap().iter();
    events.filter(|event| event["kind"] == kind).count()
}

const TERMINALS: [&str; 2] = ["t1", "t2"];

/// Takes every order once, and ends its job.
fn take(mut terminal: Terminal, stop: &AtomicBool) -> Vec<i64> {
    let mut done = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Some((_, message)) = terminal.next(Duration::from_millis(300)) else {
            continue;
        };
        if message.message_type == message_type::UPGRADE {
            let job = Upgrade::from_envelope(&message).unwrap().job_id;
            let answer = json!({ "jobId": job });
            terminal.reply(message.mid, message_type::UPGRADE, 202, answer);
            terminal.report(job, 200, "success");
            done.push(job);
        }
    }
    done
}

/// Has terminals take what `work` orders: pairs of terminal and job; returns what they took.
fn taken(
    pair: &mut Pair,
    behave: fn(Terminal, &AtomicBool) -> Vec<i64>,
    work: impl FnOnce(&mut Pair) -> Vec<(usize, i64)>,
) -> (Vec<(usize, i64)>, Vec<Vec<i64>>) {
    let stop = AtomicBool::new(false);
    let terminals = TERMINALS.map(|id| pair.site.terminal(id));
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        let behaving = terminals.map(|terminal| scope.spawn(|| behave(terminal, &stop)));
        let jobs = work(pair);
        for (_, job) in &jobs {
            pair.site.wait_state(*job, "finished");
        }
        stop.store(true, Ordering::Relaxed);
        (jobs, behaving.map(|handle| handle.join().unwrap()).into())
    })
}

#[test]
fn each_takes_answers_to_the_orders_of_the_other_and_each_order_goes_out_once() {
    let mut pair = Pair::start(PATIENT);
    let packages: Vec<i64> = (1..=4)
        .map(|version| pair.site.package(&format!("1.{version}.0")))
        .collect();
    let (jobs, taken) = taken(&mut pair, take, |pair| {
        let mut jobs = Vec::new();
        for (index, package) in packages.into_iter().enumerate() {
            for (number, terminal) in TERMINALS.iter().enumerate() {
                jobs.push((number, pair.order(index % 2, terminal, package)));
            }
        }
        // What one of them was asked for, the other one answers.
        pair.choose(0);
        jobs
    });
    for (terminal, job) in jobs {
        let found = pair.site.job(job);
        assert_eq!(found["result"]["outcome"], "success", "{found}");
        assert_eq!(
            (count(&found, "sent"), count(&found, "result")),
            (1, 1),
            "{found}"
        );
        assert_eq!(
            taken[terminal]
                .iter()
                .filter(|taken| **taken == job)
                .count(),
            1
        );
    }
    for station in [0, 1] {
        let log = std::fs::read_to_string(pair.log(station)).unwrap();
        assert!(
            log.contains("ended with 200"),
            "station {station} took nothing: {log}"
        );
    }
}

#[test]
fn jobs_go_on_while_one_or_the_other_is_killed() {
    let mut pair = Pair::start("");
    let packages: Vec<i64> = (1..=4)
        .map(|version| pair.site.package(&format!("1.{version}.0")))
        .collect();
    let (jobs, taken) = taken(&mut pair, obey, |pair| {
        let mut jobs = Vec::new();
        for (round, package) in packages.into_iter().enumerate() {
            let (asked, killed) = (round % 2, (round / 2 + round) % 2);
            for (number, terminal) in TERMINALS.iter().enumerate() {
                jobs.push((number, pair.order(asked, terminal, package)));
            }
            // At another moment of the traffic each time.
            thread::sleep(Duration::from_millis(30 * round as u64));
            pair.kill(killed);
            pair.choose(1 - killed);
            // The other one goes on alone.
            if round == 3 {
                for (_, job) in &jobs {
                    pair.site.wait_state(*job, "finished");
                }
            }
            pair.run(killed);
        }
        jobs
    });
    for (terminal, job) in jobs {
        let found = pair.site.job(job);
        assert_eq!(found["result"]["outcome"], "success", "{found}");
        assert_eq!(count(&found, "result"), 1, "{found}");
        assert_eq!(
            taken[terminal]
                .iter()
                .filter(|taken| **taken == job)
                .count(),
            1
        );
    }
}

#[test]
fn a_station_that_starts_before_its_database_waits_and_says_so() {
    let dir = folder();
    let server = Server::start(&dir.path().join("pg"));
    let mut site = Site::prepare_on("", Some(Database::new_at(&server.url)));
    site.start_broker();
    server.kill();
    let config = site.path("station/station.toml");
    let args = ["serve", "--config", config.to_str().unwrap()];
    let program = env!("CARGO_BIN_EXE_dau-station");
    let _station = Process::start(program, &args, &site.path("station.log"));
    wait_for("it to say so", || {
        site.station_log()
            .contains("the database is waited for")
            .then_some(())
    });
    server.start_again();
    wait_for("the station", || {
        let (status, _) = site.try_rest(Method::GET, "readyz", None)?;
        (status == 200).then_some(())
    });
}
