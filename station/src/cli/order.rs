//! Orders an upgrade and follows it to its end.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use dau_model::{Kind, Outcome};
use indicatif::ProgressBar;

use super::client::{is_unreachable, Client};
use super::out::{self, cell};
use super::{show, Access};
use crate::api_tokens;
use crate::store::jobs::Job;
use crate::store::orders::select::reason;
use crate::store::orders::Order;
use crate::store::packages::Package;
use crate::web::jobs::{JobRecord, Jobs};
use crate::web::orders::lists::SkippedPage;
use crate::web::orders::NewOrder;
use crate::web::packages::Packages;

/// Time between two requests for a job.
const POLL: Duration = Duration::from_millis(500);
/// Time between two requests for an order whose jobs are being made.
const SHORT: Duration = Duration::from_millis(50);
/// Time between two requests for an order under way.
const PAUSE: Duration = Duration::from_secs(1);
/// Jobs of other orders that are asked for between two of these requests.
const ASKED: usize = 100;
/// Attempts at sending an order over a broken connection.
const ORDER_TRIES: u32 = 5;
/// How long a followed job waits for a station that does not answer, such as during a restart.
const MAX_OUTAGE: Duration = Duration::from_secs(600);
/// Per cent between two lines where no bar can be drawn.
const STEP: u8 = 10;

/// The order.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Terminal to upgrade (may be repeated)
    #[arg(long, value_name = "ID", required_unless_present_any = ["all", "filter"])]
    terminal: Vec<String>,
    /// Every known terminal of the package's product
    #[arg(long, conflicts_with = "terminal")]
    all: bool,
    /// The terminals that this filter fits now, such as 'feeder in (F1, F2) and not tag:hold'
    #[arg(long, conflicts_with_all = ["terminal", "all"])]
    filter: Option<String>,
    /// The package: its id, its version, or a .dau file, which is uploaded
    #[arg(long)]
    package: String,
    /// Parts to upgrade [default: everything in the package]
    #[arg(long = "type", value_name = "full|kernel|rootfs|recovery")]
    upgrade_type: Option<Kind>,
    /// Seconds that a terminal waits before it starts
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    policy: u32,
    /// Seconds over which the terminals' starts are spread
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    spread: u32,
    /// Seconds after which the order expires if the terminal has not accepted it
    #[arg(long, value_name = "SECONDS")]
    expire: Option<u32>,
    /// Bytes that a terminal may spend on it [default: as the station is configured]
    #[arg(long, value_name = "BYTES")]
    budget: Option<u64>,
    /// Order even if the station would refuse; the terminal still decides for itself
    #[arg(long)]
    force: bool,
    /// Follow the order to its end; exit status 0 only if every terminal succeeds
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    access: Access,
}

/// Orders an upgrade.
pub fn run(args: Args) -> Result<ExitCode> {
    let client = Client::new(&args.access)?;
    let package = find(&client, &args.package, args.upgrade_type)?;
    let order = NewOrder {
        terminals: args.terminal,
        all: args.all,
        filter: args.filter,
        package,
        upgrade_type: args.upgrade_type.map(|kind| kind.to_string()),
        policy: args.policy,
        spread: args.spread,
        expire: args.expire,
        budget: args.budget,
        force: args.force,
    };
    let placed = post(&client, &order)?;
    let order = made(&client, placed)?;
    if args.access.json {
        out::json(&order)?;
    } else {
        out::text(&placed_text(&client, &order)?)?;
    }
    match args.wait {
        true => follow_order(&client, &order),
        false => Ok(ExitCode::SUCCESS),
    }
}

/// Waits until the order's jobs are made.
fn made(client: &Client, mut order: Order) -> Result<Order> {
    let bar = ProgressBar::new(order.terminals).with_style(show::count_style());
    bar.set_message("jobs");
    while order.state == "making" {
        let skipped: u64 = order.skipped.values().sum();
        bar.set_position(order.jobs.saturating_add(skipped));
        sleep(SHORT);
        order = ask(client, &format!("orders/{}", order.id), &[], &bar)?;
    }
    bar.finish_and_clear();
    Ok(order)
}

fn placed_text(client: &Client, order: &Order) -> Result<String> {
    let jobs = match order.jobs {
        ..=show::MAX_NAMED => jobs_of(client, order.id)?.jobs,
        _ => Vec::new(),
    };
    let skipped = match order.skipped.is_empty() {
        true => Vec::new(),
        false => {
            let path = format!("orders/{}/skipped", order.id);
            client.get::<SkippedPage>(&path, &[])?.skipped
        }
    };
    Ok(show::ordered(order, &jobs, &skipped))
}

/// Returns the newest jobs of an order.
fn jobs_of(client: &Client, order: i64) -> Result<Jobs> {
    client.get("jobs", &[("order", Some(order.to_string()))])
}

/// Sends an order. If the connection breaks before the answer, sends it again with the same key, so
/// that it is executed once.
fn post(client: &Client, order: &NewOrder) -> Result<Order> {
    let key = api_tokens::generate()?;
    let mut tries: u32 = 1;
    loop {
        match client.post("orders", order, Some(&key)) {
            Err(error) if is_unreachable(&error) && tries < ORDER_TRIES => {
                out::note(&format!("{error:#}; trying again"));
                tries = tries.saturating_add(1);
                sleep(POLL);
            }
            answer => return answer,
        }
    }
}

/// Finds the package that `text` names, uploading it if it is a file.
pub fn find(client: &Client, text: &str, upgrade_type: Option<Kind>) -> Result<i64> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    if Path::new(text).is_file() {
        return Ok(super::upload(client, Path::new(text))?.id);
    }
    let all: Packages = client.get("packages", &[])?;
    let fits = |package: &&Package| {
        package.version == text
            && package.target.is_none()
            && upgrade_type.is_none_or(|wanted| wanted.word() == package.kind)
    };
    let found: Vec<&Package> = all.packages.iter().filter(fits).collect();
    match found.as_slice() {
        [package] => Ok(package.id),
        [] => bail!(
            "'{text}' is no file, and the station has no such version; see \
            'dau-station packages'"
        ),
        several => {
            let ids: Vec<String> = several
                .iter()
                .map(|package| format!("{} ({} {})", package.id, package.product, package.kind))
                .collect();
            bail!(
                "several packages have version {text}: give --type or one of the \
                numbers {}",
                ids.join(", ")
            )
        }
    }
}

/// Sends a request, retrying while the station does not answer.
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
            Err(error) if !is_unreachable(&error) => return Err(error),
            Err(error) => {
                let since = *away.get_or_insert_with(|| {
                    bar.suspend(|| out::note(&format!("{error:#}; asking again")));
                    Instant::now()
                });
                if since.elapsed() > MAX_OUTAGE {
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
        view.show(&job)?;
        if let Some(result) = &job.result {
            view.bar.finish_and_clear();
            out::text(&format!(
                "{}: {}",
                cell(&job.terminal),
                show::result(result)
            ))?;
            return Ok(status(result.outcome == Outcome::Success.word()));
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

/// A job's progress: a bar on a terminal, else a line for each state and every tenth of a download.
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

    fn show(&mut self, job: &Job) -> Result<()> {
        if !self.drawn {
            let step = job.progress.checked_div(STEP).unwrap_or(0);
            if job.state != self.last.0 || step > self.last.1 {
                out::text(&format!("{}: {}\n", cell(&job.terminal), line(job)))?;
                self.last = (job.state.clone(), step);
            }
            return Ok(());
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
            .set_message(format!("{} {:12}", cell(&job.terminal), cell(&job.state)));
        self.bar.tick();
        Ok(())
    }
}

fn line(job: &Job) -> String {
    match (job.bytes, job.total) {
        (Some(bytes), Some(total)) => format!(
            "{} {} % ({bytes} of {total} bytes)",
            cell(&job.state),
            job.progress
        ),
        _ => show::state(job),
    }
}

/// Follows the jobs of an order, and those that were in progress already.
fn follow_order(client: &Client, order: &Order) -> Result<ExitCode> {
    let bar = ProgressBar::new(0).with_style(show::count_style());
    let before = in_progress(client, order.id, &bar)?;
    let count = order.jobs.saturating_add(before.len() as u64);
    bar.set_length(count);
    if left_out(order) > 0 {
        let left = left_out(order);
        out::note(&format!(
            "{left} terminals got no job: this ends with status 1"
        ));
    } else if count == 1 {
        let job = match before.first() {
            Some(job) => *job,
            None => only_job(client, order.id, &bar)?,
        };
        return follow(client, job);
    }
    let drawn = std::io::stderr().is_terminal();
    let (mut open, mut over) = (VecDeque::from(before), Vec::<Job>::new());
    let mut last = String::new();
    loop {
        let order: Order = ask(client, &format!("orders/{}", order.id), &[], &bar)?;
        for _ in 0..open.len().min(ASKED) {
            let Some(id) = open.pop_front() else { break };
            let JobRecord { job, .. } = ask(client, &format!("jobs/{id}"), &[], &bar)?;
            match job.result {
                Some(_) => over.push(job),
                None => open.push_back(id),
            }
        }
        let finished = order.finished.saturating_add(over.len() as u64);
        let text = show::counts(&order.counts);
        if drawn {
            bar.set_message(text);
            bar.set_position(finished);
        } else if text != last {
            out::text(&format!("{finished}/{count} finished: {text}\n"))?;
            last = text;
        }
        if finished >= count {
            break;
        }
        sleep(PAUSE);
    }
    let good = conclude(client, order.id, count, over, &bar)?;
    Ok(status(good && left_out(order) == 0))
}

/// Returns how many terminals got no job although they neither have one nor run the version.
fn left_out(order: &Order) -> u64 {
    let harmless = [reason::IN_PROGRESS, reason::ALREADY_THERE];
    let skipped = order.skipped.iter();
    skipped
        .filter(|(reason, _)| !harmless.contains(&reason.as_str()))
        .map(|(_, count)| count)
        .sum()
}

/// Returns the jobs that terminals had already when the order came.
fn in_progress(client: &Client, order: i64, bar: &ProgressBar) -> Result<Vec<i64>> {
    let (mut jobs, mut after) = (Vec::new(), None);
    loop {
        let query = [("after", after)];
        let page: SkippedPage = ask(client, &format!("orders/{order}/skipped"), &query, bar)?;
        jobs.extend(page.skipped.iter().filter_map(|skipped| skipped.job));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(jobs),
        }
    }
}

fn only_job(client: &Client, order: i64, bar: &ProgressBar) -> Result<i64> {
    let query = [("order", Some(order.to_string()))];
    let page: Jobs = ask(client, "jobs", &query, bar)?;
    let job = page.jobs.first().context("the order's job is gone")?;
    Ok(job.id)
}

/// Lists the terminals that did not succeed; returns whether there are none.
fn conclude(
    client: &Client,
    order: i64,
    count: u64,
    mut jobs: Vec<Job>,
    bar: &ProgressBar,
) -> Result<bool> {
    let mut before = None;
    loop {
        let query = [
            ("order", Some(order.to_string())),
            ("limit", Some("1000".to_owned())),
            ("before", before),
        ];
        let page: Jobs = ask(client, "jobs", &query, bar)?;
        jobs.extend(page.jobs);
        match page.next {
            Some(next) => before = Some(next.to_string()),
            None => break,
        }
    }
    let succeeded = |job: &Job| {
        let result = job.result.as_ref();
        result.is_some_and(|result| result.outcome == Outcome::Success.word())
    };
    bar.finish_and_clear();
    let failed: Vec<Job> = jobs.into_iter().filter(|job| !succeeded(job)).collect();
    let good = count.saturating_sub(failed.len() as u64);
    out::text(&format!("{good} of {count} succeeded\n"))?;
    if !failed.is_empty() {
        out::text(&show::jobs(&failed))?;
    }
    Ok(failed.is_empty())
}
