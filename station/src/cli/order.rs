//! Ordering an upgrade, and following it to its end.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};
use indicatif::ProgressBar;

use super::client::Client;
use super::{show, Access};
use crate::job::outcome;
use crate::store::jobs::Job;
use crate::store::orders::Summary;
use crate::store::packages::Package;
use crate::web::jobs::{JobRecord, Jobs};
use crate::web::orders::{NewJobs, NewOrder};
use crate::web::packages::Packages;

/// How often the station is asked.
const POLL: Duration = Duration::from_millis(500);
/// How long the station may be away while a job is followed: it may be restarted meanwhile.
const AWAY: Duration = Duration::from_secs(600);
/// Per cent between two lines where there is no terminal to draw a bar on.
const STEP: u8 = 10;

/// What to order.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Terminal to upgrade; may be given several times
    #[arg(long, value_name = "ID", required_unless_present = "all")]
    terminal: Vec<String>,
    /// Every known terminal of the package's product
    #[arg(long, conflicts_with = "terminal")]
    all: bool,
    /// The package: its number, its version, or a .dau file, which is uploaded
    #[arg(long)]
    package: String,
    /// What is upgraded; without it, everything that the package holds
    #[arg(long = "type", value_name = "full|kernel|rootfs|recovery", value_parser = ["full", "kernel", "rootfs", "recovery"])]
    upgrade_type: Option<String>,
    /// Seconds that a terminal waits before it starts
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    policy: u32,
    /// Seconds over which the starts of the terminals are spread
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    spread: u32,
    /// Seconds after which the order is void for a terminal that has not taken it
    #[arg(long, value_name = "SECONDS")]
    expire: Option<u32>,
    /// Orders what the station would refuse; the terminal judges all the same
    #[arg(long)]
    force: bool,
    /// Follows the order to its end; exit status 0 only if every terminal succeeds
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    access: Access,
}

/// Orders.
pub fn run(args: Args) -> Result<ExitCode> {
    let client = Client::new(&args.access)?;
    let package = find(&client, &args.package, args.upgrade_type.as_deref())?;
    let order = NewOrder {
        terminals: args.terminal,
        all: args.all,
        package,
        upgrade_type: args.upgrade_type,
        policy: args.policy,
        spread: args.spread,
        expire: args.expire,
        force: args.force,
    };
    let created: NewJobs = client.post("jobs", &order)?;
    if args.access.json {
        println!("{}", serde_json::to_string_pretty(&created)?);
    } else {
        for job in &created.jobs {
            let already = match job.existing {
                true => " (under way already)",
                false => "",
            };
            println!("job {} for {}{already}", job.id, job.terminal);
        }
    }
    if !args.wait {
        return Ok(ExitCode::SUCCESS);
    }
    match created.jobs.as_slice() {
        [job] => follow(&client, job.id),
        // Jobs that were there already belong to other orders.
        jobs => {
            let others: Vec<i64> = jobs
                .iter()
                .filter(|job| job.existing)
                .map(|job| job.id)
                .collect();
            follow_order(&client, created.order, jobs.len() as u64, &others)
        }
    }
}

/// The package that `text` names.
fn find(client: &Client, text: &str, upgrade_type: Option<&str>) -> Result<i64> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    if Path::new(text).is_file() {
        return Ok(super::upload(client, Path::new(text))?.id);
    }
    let all: Packages = client.get("packages", &[])?;
    let fits = |package: &&Package| {
        package.version == text && upgrade_type.is_none_or(|wanted| wanted == package.kind)
    };
    let found: Vec<&Package> = all.packages.iter().filter(fits).collect();
    match found.as_slice() {
        [package] => Ok(package.id),
        [] => bail!("--package: '{text}' is no file, and the station has no such version; see 'dau-station packages'"),
        several => {
            let ids: Vec<String> = several
                .iter()
                .map(|package| format!("{} ({} {})", package.id, package.product, package.kind))
                .collect();
            bail!("--package: several packages have version {text}: give --type or one of the numbers {}", ids.join(", "))
        }
    }
}

/// Asks the station, patiently while it is away.
fn ask<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: &str,
    query: &[(&str, Option<String>)],
    bar: &ProgressBar,
) -> Result<T> {
    let mut away: Option<Instant> = None;
    loop {
        match client.get(path, query) {
            Ok(answer) => return Ok(answer),
            Err(error) if error.downcast_ref::<attohttpc::Error>().is_none() => return Err(error),
            Err(error) => {
                let since = *away.get_or_insert_with(|| {
                    bar.suspend(|| eprintln!("{error:#}; asking again"));
                    Instant::now()
                });
                if since.elapsed() > AWAY {
                    return Err(error);
                }
            }
        }
        sleep(POLL);
    }
}

/// Follows one job.
pub fn follow(client: &Client, id: i64) -> Result<ExitCode> {
    let mut view = View::new();
    loop {
        let JobRecord { job, .. } = ask(client, &format!("jobs/{id}"), &[], &view.bar)?;
        view.show(&job);
        if let Some(result) = &job.result {
            view.bar.finish_and_clear();
            print!("{}: {}", job.terminal, show::result(result));
            return Ok(status(result.outcome == outcome::SUCCESS));
        }
        sleep(POLL);
    }
}

fn status(success: bool) -> ExitCode {
    match success {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// A job on the screen: a bar on a terminal, else a line for each state and every tenth of a download.
struct View {
    bar: ProgressBar,
    drawn: bool,
    last: (String, u8),
}

impl View {
    fn new() -> Self {
        View {
            bar: ProgressBar::new(100).with_style(show::count_style()),
            drawn: std::io::stderr().is_terminal(),
            last: (String::new(), 0),
        }
    }

    fn show(&mut self, job: &Job) {
        if !self.drawn {
            let step = job.progress / STEP * STEP;
            if job.state != self.last.0 || step > self.last.1 {
                println!("{}: {}", job.terminal, line(job));
                self.last = (job.state.clone(), step);
            }
            return;
        }
        if job.state != self.last.0 {
            let style = match job.total {
                Some(_) => show::bytes_style(),
                None => show::count_style(),
            };
            self.bar.reset();
            self.bar.set_style(style);
            self.last.0 = job.state.clone();
        }
        match (job.bytes, job.total) {
            (Some(bytes), Some(total)) => {
                self.bar.set_style(show::bytes_style());
                self.bar.set_length(total);
                self.bar.set_position(bytes);
            }
            _ => {
                self.bar.set_length(100);
                self.bar.set_position(job.progress.into());
            }
        }
        self.bar
            .set_message(format!("{} {:12}", job.terminal, job.state));
        self.bar.tick();
    }
}

fn line(job: &Job) -> String {
    match (job.bytes, job.total) {
        (Some(bytes), Some(total)) => format!(
            "{} {} % ({bytes} of {total} bytes)",
            job.state, job.progress
        ),
        _ => show::state(job),
    }
}

/// Follows the jobs of an order, and `others` that were under way before it.
fn follow_order(client: &Client, order: i64, count: u64, others: &[i64]) -> Result<ExitCode> {
    let bar = ProgressBar::new(count).with_style(show::count_style());
    let drawn = std::io::stderr().is_terminal();
    let mut last = String::new();
    let mut over: Vec<Job> = Vec::new();
    loop {
        let asked = Instant::now();
        let mut summary = Summary::default();
        if others.len() as u64 != count {
            summary = ask(client, &format!("orders/{order}"), &[], &bar)?;
        }
        for id in others {
            if over.iter().all(|job| job.id != *id) {
                let JobRecord { job, .. } = ask(client, &format!("jobs/{id}"), &[], &bar)?;
                over.extend(job.result.is_some().then_some(job));
            }
        }
        let finished = summary.finished + over.len() as u64;
        let counts: Vec<String> = summary
            .counts
            .iter()
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        let text = counts.join(", ");
        if drawn {
            bar.set_message(text);
            bar.set_position(finished);
        } else if text != last {
            println!("{finished}/{count} finished: {text}");
            last = text;
        }
        if finished == count {
            break;
        }
        // Counting the jobs of a large order is work: it shall not be the station's only one.
        sleep((asked.elapsed() * 4).max(POLL * 2));
    }
    bar.finish_and_clear();
    conclude(client, order, count, over)
}

/// Names the terminals that did not succeed.
fn conclude(client: &Client, order: i64, count: u64, mut jobs: Vec<Job>) -> Result<ExitCode> {
    let mut before = None;
    loop {
        let query = [
            ("order", Some(order.to_string())),
            ("limit", Some("1000".to_owned())),
            ("before", before),
        ];
        let page: Jobs = client.get("jobs", &query)?;
        jobs.extend(page.jobs);
        match page.next {
            Some(next) => before = Some(next.to_string()),
            None => break,
        }
    }
    let succeeded = |job: &Job| {
        let result = job.result.as_ref();
        result.is_some_and(|result| result.outcome == outcome::SUCCESS)
    };
    let failed: Vec<Job> = jobs.into_iter().filter(|job| !succeeded(job)).collect();
    println!("{} of {count} succeeded", count - failed.len() as u64);
    if !failed.is_empty() {
        print!("{}", show::jobs(&failed));
    }
    Ok(status(failed.is_empty()))
}
