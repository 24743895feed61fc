//! One run: link up, order for all, kill -9 in the middle, compare.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use dau_rig::broker::Broker;
use dau_rig::pki::SitePki;
use dau_rig::station::Station;
use hyper::Method;
use serde_json::{json, Value};
use tokio::time::{sleep, Instant};

use crate::check::{self, Found};
use crate::fleet::{identity, terminal_id, Fleet};
use crate::options::Options;
use crate::postgresql::Server;
use crate::probe::{self, Samples, Usage};
use crate::report::Report;
use crate::rest::Rest;
use crate::rogue;
use crate::rollout;
use crate::site::{load, room_for_files, Site};
use crate::terminal::{News, OLD, PRODUCT};

/// Clients that compare at the same time.
const CHECKERS: usize = 4;
/// How long a killed program stays away.
const AWAY: Duration = Duration::from_secs(2);
/// Time after which the broker has written its sessions, as `dau-station init` sets it up.
const SESSIONS_SAVED: Duration = Duration::from_secs(31);
const LOOK: Duration = Duration::from_millis(50);

pub struct Run<'a> {
    pub options: &'a Options,
    broker: Broker,
    /// Requests go to the first, the last one is killed.
    stations: Vec<Station>,
    https: u16,
    fleet: Fleet,
    pub end: Instant,
    usage: (Vec<Usage>, Usage),
}

/// Runs everything; a rollout has no report, but says what it saw.
pub async fn run(options: &Options) -> Result<Option<Report>> {
    ensure!(options.terminals > 0, "--terminals: at least one");
    room_for_files(options)?;
    let temporary = tempfile::tempdir()?;
    let folder = options.folder.as_deref().unwrap_or(temporary.path());
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    let folder = folder.canonicalize()?;
    let load_before = load();
    let pki = SitePki::create(&folder.join("pki"))?;
    let Site {
        broker,
        database,
        mut stations,
        ports,
    } = Site::start(options, &pki, &folder)?;
    let station = stations.first().context("a station")?;
    let package = station.upload(&crate::site::package(&pki, &folder, options.package)?)?;
    // The terminals link up while they are away.
    stations.iter_mut().for_each(Station::kill);
    let https = ports.first().copied().context("a port")?;
    let fleet = Fleet::start(options, &pki, broker.port(), ports)?;
    let rogues = if options.no_faults { 0 } else { options.rogues };
    for number in 0..rogues {
        let identity = Arc::new(identity(&pki, format!("rogue-{number}"))?);
        tokio::spawn(rogue::run(
            Arc::clone(&fleet.shared),
            identity,
            number,
            options.seed,
        ));
    }
    let mut run = Run {
        options,
        broker,
        https,
        fleet,
        end: Instant::now() + Duration::from_secs(options.limit),
        usage: (vec![Usage::default(); stations.len()], Usage::default()),
        stations,
    };
    let link_ups = run.link_up().await?;
    let unknown = run.unknown().await?;
    if options.rollout {
        rollout::run(&mut run, package).await?;
        return Ok(None);
    }
    let samples = Samples::default();
    let (order, post, start) = run.order(package).await?;
    let probes = run.probe(&samples, order, package);
    if !options.no_faults {
        run.kill_in_the_middle().await?;
    }
    run.wait_for("the last result", |run| {
        run.seen(News::Acknowledged) >= options.terminals
    })
    .await?;
    run.settled(order).await?;
    for probe in probes {
        probe.abort();
    }
    let since = |news| run.fleet.shared.tally.last(news).saturating_sub(start) as f64 / 1000.0;
    let (last_acceptance, last_result) = (since(News::Accepted), since(News::Acknowledged));
    let reconnect = match options.no_faults {
        true => Some(run.reconnect().await?),
        false => None,
    };
    let Run {
        mut broker,
        stations,
        fleet,
        usage,
        ..
    } = run;
    let used = database.as_ref().map(Server::usage).transpose()?;
    let messages = fleet.shared.sent.load(std::sync::atomic::Ordering::Relaxed);
    let dialer = fleet.shared.dialer.clone();
    let terminals = fleet.stop().await?;
    broker.kill();
    let found = compare(terminals, || Rest::new(&dialer, https, stations[0].token())).await?;
    Ok(Some(Report {
        options: options.clone(),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        load_before,
        load_after: load(),
        link_ups,
        unknown,
        post,
        last_acceptance,
        last_result,
        reconnect,
        messages,
        found,
        rest: probe::summary(&samples),
        stations: usage.0,
        broker: usage.1,
        database: used,
    }))
}

impl Run<'_> {
    pub fn seen(&self, news: News) -> usize {
        self.fleet.shared.tally.count(news)
    }

    pub async fn wait_for(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<()> {
        while !done(self) {
            for (usage, station) in self.usage.0.iter_mut().zip(&mut self.stations) {
                usage.look(station.id());
                station.check()?;
            }
            self.usage.1.look(self.broker.id());
            if Instant::now() > self.end {
                let shared = &self.fleet.shared;
                bail!(
                    "waited in vain for {what}: {} of {} connections ({:?}), {} welcomed, {} accepted, {} \
                     acknowledged",
                    shared.connected.load(std::sync::atomic::Ordering::Relaxed),
                    self.fleet.connections,
                    shared.last_failure(),
                    self.seen(News::Welcomed),
                    self.seen(News::Accepted),
                    self.seen(News::Acknowledged),
                );
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    pub fn rest(&self) -> Rest {
        Rest::new(
            &self.fleet.shared.dialer,
            self.https,
            self.stations[0].token(),
        )
    }

    /// Waits for the connections and for the pause, starts the station, and waits until it has
    /// welcomed all; returns how long that took.
    async fn link_up(&mut self) -> Result<f64> {
        let pause = Instant::now() + Duration::from_secs(self.options.pause);
        let all = self.fleet.connections;
        self.wait_for("the connections", |run| {
            let connected = &run.fleet.shared.connected;
            connected.load(std::sync::atomic::Ordering::Relaxed) >= all
        })
        .await?;
        tokio::time::sleep_until(pause).await;
        let start = Instant::now();
        for station in &mut self.stations {
            station.start_again()?;
        }
        let all = self.options.terminals;
        self.wait_for("the answers to EVENT_LINKUP", |run| {
            run.seen(News::Welcomed) >= all
        })
        .await?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Returns the number of terminals that the station does not know.
    async fn unknown(&self) -> Result<u64> {
        let (mut rest, mut known, mut after) = (self.rest(), 0, String::new());
        loop {
            let path =
                format!("terminals?product={PRODUCT}&version={OLD}&limit=1000&after={after}");
            let page = rest.get(&path).await?;
            let count = page["terminals"].as_array().map_or(0, Vec::len);
            known += count as u64;
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut after),
                None => return Ok((self.options.terminals as u64).saturating_sub(known)),
            }
        }
    }

    /// Orders the upgrade for all; returns the order, the seconds until the answer, and the start.
    async fn order(&mut self, package: i64) -> Result<(i64, f64, u64)> {
        let mut rest = self.rest();
        rest.connect().await?;
        let start = self.fleet.shared.now();
        let order = json!({"all": true, "package": package});
        let (status, answer) = rest.call(Method::POST, "orders", Some(&order)).await?;
        let took = (self.fleet.shared.now() - start) as f64 / 1000.0;
        let answer: Value = serde_json::from_slice(&answer)?;
        ensure!(
            status.is_success(),
            "the order was answered with {status}: {answer}"
        );
        let id = answer["id"].as_i64().context("an order's id")?;
        Ok((id, took, start))
    }

    fn probe(
        &self,
        samples: &Arc<Mutex<BTreeMap<String, Vec<f64>>>>,
        order: i64,
        package: i64,
    ) -> Vec<tokio::task::JoinHandle<()>> {
        let terminal = terminal_id(self.options.terminals / 2);
        let paths = vec![
            (
                "terminals by product and version",
                format!("terminals?product={PRODUCT}&version={OLD}&limit=100"),
            ),
            ("terminals/ID", format!("terminals/{terminal}")),
            ("jobs", "jobs?limit=100".to_owned()),
            (
                "jobs by state",
                "jobs?state=downloading&limit=100".to_owned(),
            ),
            (
                "jobs by outcome",
                "jobs?outcome=failed&limit=100".to_owned(),
            ),
            (
                "jobs by order and state",
                format!("jobs?order={order}&state=finished&limit=100"),
            ),
            (
                "jobs by package",
                format!("jobs?package={package}&limit=100"),
            ),
            (
                "jobs by terminal",
                format!("jobs?terminal={terminal}&limit=100"),
            ),
            ("orders/ID", format!("orders/{order}")),
        ];
        let ready = vec![("readyz", "readyz".to_owned())];
        [paths, ready]
            .map(|paths| tokio::spawn(probe::ask(self.rest(), Arc::clone(samples), paths)))
            .into()
    }

    /// kill -9 of the station when a third has accepted, and of the broker a moment later.
    async fn kill_in_the_middle(&mut self) -> Result<()> {
        let third = self.options.terminals.div_ceil(3);
        self.wait_for("the first acceptances", |run| {
            run.seen(News::Accepted) >= third
        })
        .await?;
        let last = self.stations.last_mut().context("a station")?;
        last.kill();
        sleep(AWAY).await;
        last.start_again()?;
        self.wait_for("more acceptances", |run| {
            run.seen(News::Accepted) >= 2 * third.min(run.options.terminals / 2)
        })
        .await?;
        self.broker.kill();
        sleep(AWAY).await;
        self.broker.start_again()
    }

    /// Waits until the station counts all jobs of the order as finished.
    async fn settled(&mut self, order: i64) -> Result<()> {
        let mut rest = self.rest();
        let all = self.options.terminals as u64;
        loop {
            let summary = rest.get(&format!("orders/{order}")).await?;
            if summary["jobs"] == all && summary["finished"] == all {
                return Ok(());
            }
            ensure!(
                Instant::now() < self.end,
                "the order does not end: {summary}"
            );
            sleep(LOOK).await;
        }
    }

    /// Restarts the broker and returns the seconds until all terminals are welcomed again.
    async fn reconnect(&mut self) -> Result<f64> {
        // A broker that is killed before it first wrote its sessions forgets the station's, and
        // with it what terminals send before the station is back.
        sleep(SESSIONS_SAVED).await;
        let all = self.seen(News::Welcomed) + self.options.terminals;
        self.broker.kill();
        sleep(Duration::from_secs(1)).await;
        let start = Instant::now();
        self.broker.start_again()?;
        self.wait_for("the terminals' return", |run| {
            run.seen(News::Welcomed) >= all
        })
        .await?;
        Ok(start.elapsed().as_secs_f64())
    }
}

async fn compare(
    mut terminals: Vec<crate::terminal::Terminal>,
    rest: impl Fn() -> Rest,
) -> Result<Found> {
    let part = terminals.len().div_ceil(CHECKERS).max(1);
    let mut checks = Vec::new();
    while !terminals.is_empty() {
        let some = terminals.split_off(terminals.len().saturating_sub(part));
        let rest = rest();
        checks.push(tokio::spawn(async move { check::check(rest, &some).await }));
    }
    let mut found = Found::default();
    for check in checks {
        found.add(check.await??);
    }
    Ok(found)
}
