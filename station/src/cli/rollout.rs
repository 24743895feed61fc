//! Rollouts: plans them, starts and stops them, and shows how far they are.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use dau_model::Kind;
use serde::de::DeserializeOwned;
use serde_json::{json, Value};

use super::client::Client;
use super::out::{self, cell};
use super::{order, print, Access};
use crate::store::rollouts::{Rollout, Target};
use crate::web::rollouts::acts::{StoppedAll, ToReach};
use crate::web::rollouts::{NewRollout, Preview, Rollouts, Targets};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the terminals of a stop are waited for.
const LONGEST: Duration = Duration::from_secs(600);

/// The commands for rollouts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Plan a rollout; nothing starts before `start`
    Plan(Plan),
    /// List rollouts, newest first
    List(Only),
    /// Show a rollout: its waves, failures and what to do about them
    Show(One),
    /// Show who gets what, who is left out, and what it will take
    Preview(One),
    /// List its terminals, and why each waits
    Targets {
        #[command(flatten)]
        one: One,
        /// Only those of this wave
        #[arg(long)]
        wave: Option<u32>,
        /// Only those in this state
        #[arg(long)]
        state: Option<String>,
        /// Only those with this word
        #[arg(long)]
        word: Option<String>,
    },
    /// Start it; it may need a second person
    Start(One),
    /// Approve its start, as a second person
    Approve(One),
    /// Start no more terminals; those under way go on
    Pause(One),
    /// Go on
    Resume(One),
    /// Start no more terminals, and cancel what is not armed; shows who has yet to hear of it
    Stop {
        /// Id of the rollout
        #[arg(required_unless_present = "all")]
        id: Option<i64>,
        /// Stop all rollouts, and cancel all orders
        #[arg(long, conflicts_with = "id")]
        all: bool,
        #[command(flatten)]
        access: Access,
    },
    /// Have those start again that failed or were cancelled
    Retry(One),
    /// Let it expire later
    Extend {
        #[command(flatten)]
        one: One,
        /// By so many seconds
        #[arg(long)]
        seconds: u32,
    },
    /// Open the next wave
    Next(One),
    /// Plan the way back to the version before, for those that succeeded
    Revert {
        #[command(flatten)]
        one: One,
        /// The package [default: that of the version that most of them ran]
        #[arg(long, value_name = "ID")]
        package: Option<i64>,
    },
}

/// A rollout that is planned.
#[derive(Debug, Args)]
pub struct Plan {
    /// Terminal to upgrade (may be repeated)
    #[arg(long, value_name = "ID", required_unless_present_any = ["filter", "all"])]
    terminal: Vec<String>,
    /// Terminals that this filter finds
    #[arg(long, conflicts_with = "terminal")]
    filter: Option<String>,
    /// Every known terminal of the package's product
    #[arg(long, conflicts_with_all = ["terminal", "filter"])]
    all: bool,
    /// The package: its id, its version, or a .dau file, which is uploaded
    #[arg(long)]
    package: String,
    /// Parts to upgrade [default: everything in the package]
    #[arg(long = "type", value_name = "full|kernel|rootfs|recovery")]
    upgrade_type: Option<Kind>,
    /// Name of the rollout [default: the package's version]
    #[arg(long)]
    name: Option<String>,
    /// Bytes that a terminal may spend on it [default: as the station is configured]
    #[arg(long, value_name = "BYTES")]
    budget: Option<u64>,
    /// File with the plan as JSON, see docs/station.md [default: one terminal, 1 %, 10 %, the rest; any
    /// `rolled-back` stops, and so do 2 % failures of at least 50]
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
}

/// A rollout.
#[derive(Debug, Args)]
pub struct One {
    /// Id of the rollout
    id: i64,
    #[command(flatten)]
    access: Access,
}

/// The list.
#[derive(Debug, Args)]
pub struct Only {
    /// Maximum number of rollouts, up to 1000
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    access: Access,
}

/// Runs a command.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Plan(plan) => make(plan),
        Command::List(Only { limit, access }) => {
            let query = [("limit", Some(limit.to_string()))];
            let all: Rollouts = Client::new(&access)?.get("rollouts", &query)?;
            let lines = |all: &Vec<Rollout>| all.iter().map(line).collect::<String>();
            print(&access, &all.rollouts, lines)
        }
        Command::Show(one) => show(&one, "", text),
        Command::Preview(one) => show(&one, "/preview", preview),
        Command::Targets {
            one,
            wave,
            state,
            word,
        } => {
            let wave = wave.map(|wave| wave.to_string());
            targets(&one, &[("wave", wave), ("state", state), ("word", word)])
        }
        Command::Start(one) => post(&one, "start", &json!({})),
        Command::Approve(one) => post(&one, "approve", &json!({})),
        Command::Pause(one) => post(&one, "pause", &json!({})),
        Command::Resume(one) => post(&one, "resume", &json!({})),
        Command::Retry(one) => post(&one, "retry", &json!({})),
        Command::Next(one) => post(&one, "next", &json!({})),
        Command::Extend { one, seconds } => post(&one, "extend", &json!({ "seconds": seconds })),
        Command::Revert { one, package } => post(&one, "revert", &json!({ "package": package })),
        Command::Stop {
            id: Some(id),
            access,
            ..
        } => stop(&One { id, access }),
        Command::Stop {
            id: None, access, ..
        } => stop_all(&access),
    }
}

fn make(plan: Plan) -> Result<()> {
    let client = Client::new(&plan.access)?;
    let how = match &plan.plan {
        None => usual().to_string(),
        Some(path) => fs::read_to_string(path)
            .with_context(|| format!("--plan: cannot read {}", path.display()))?,
    };
    let new = NewRollout {
        name: plan.name,
        terminals: plan.terminal,
        filter: plan.filter,
        all: plan.all,
        package: order::find(&client, &plan.package, plan.upgrade_type)?,
        upgrade_type: plan.upgrade_type.map(|kind| kind.to_string()),
        budget: plan.budget,
        plan: serde_json::from_str(&how).context("--plan")?,
    };
    let mut rollout: Rollout = client.post("rollouts", &new, None)?;
    while rollout.state == "preparing" {
        sleep(PAUSE);
        rollout = client.get(&format!("rollouts/{}", rollout.id), &[])?;
    }
    print(&plan.access, &rollout, text)
}

/// Returns the plan of a rollout without one.
fn usual() -> Value {
    let failure = json!({"percent": 2, "least": 50, "words": ["rolled-back"]});
    let wave = |take: Value| json!({"take": take, "failure": failure, "observe": 600});
    json!({"waves": [
        {"take": {"count": 1}, "failure": {"count": 1}, "observe": 600},
        wave(json!({"percent": 1})),
        wave(json!({"percent": 10})),
        wave(json!("rest")),
    ]})
}

fn show<T: DeserializeOwned + serde::Serialize>(
    one: &One,
    path: &str,
    text: impl FnOnce(&T) -> String,
) -> Result<()> {
    let found: T = Client::new(&one.access)?.get(&format!("rollouts/{}{path}", one.id), &[])?;
    print(&one.access, &found, text)
}

fn post(one: &One, act: &str, content: &Value) -> Result<()> {
    let path = format!("rollouts/{}/{act}", one.id);
    let rollout: Rollout = Client::new(&one.access)?.post(&path, content, None)?;
    print(&one.access, &rollout, text)
}

/// Stops a rollout, and waits until all that are linked have heard of it.
fn stop(one: &One) -> Result<()> {
    let client = Client::new(&one.access)?;
    let path = format!("rollouts/{}", one.id);
    let mut rollout: Rollout = client.post(&format!("{path}/stop"), &json!({}), None)?;
    let since = Instant::now();
    while let Some(stop) = rollout.stop.as_ref().filter(|stop| stop.seconds.is_none()) {
        if since.elapsed() > LONGEST {
            break;
        }
        out::note(&format!(
            "{} linked terminals have yet to hear of it",
            stop.linked
        ));
        sleep(PAUSE);
        rollout = client.get(&path, &[])?;
    }
    print(&one.access, &rollout, text)
}

fn stop_all(access: &Access) -> Result<()> {
    let client = Client::new(access)?;
    let since = Instant::now();
    let stopped: StoppedAll = client.post("stop", &json!({}), None)?;
    print(access, &stopped, |stopped| {
        format!(
            "stopped {} rollouts and {} orders\n",
            stopped.rollouts, stopped.orders
        )
    })?;
    loop {
        let left: ToReach = client.get("stop", &[])?;
        let (linked, away) = (left.linked, left.to_reach.saturating_sub(left.linked));
        if linked == 0 || since.elapsed() > LONGEST {
            let seconds = since.elapsed().as_secs();
            out::note(&format!(
                "after {seconds} s: {linked} linked terminals have yet to hear of it, and {away} that are away"
            ));
            return Ok(());
        }
        sleep(PAUSE);
    }
}

fn targets(one: &One, filter: &[(&str, Option<String>)]) -> Result<()> {
    let client = Client::new(&one.access)?;
    let (mut all, mut after) = (Vec::<Target>::new(), None);
    loop {
        let mut query = filter.to_vec();
        query.extend([("after", after), ("limit", Some("1000".to_owned()))]);
        let page: Targets = client.get(&format!("rollouts/{}/targets", one.id), &query)?;
        all.extend(page.targets);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    print(&one.access, &all, |all| {
        all.iter().map(target).collect::<String>()
    })
}

fn target(target: &Target) -> String {
    let word = target.waits_for.as_ref().or(target.word.as_ref());
    let job = target.job.map_or("-".to_owned(), |job| job.to_string());
    let word = word.map_or("-".to_owned(), |word| cell(word));
    let terminal = cell(&target.terminal);
    format!(
        "{terminal:20} wave {:3} {:12} {word:20} job {job}\n",
        target.wave, target.state
    )
}

fn counts<'c>(counts: impl IntoIterator<Item = (&'c String, &'c u64)>) -> String {
    let all: Vec<String> = counts
        .into_iter()
        .map(|(word, number)| format!("{number} {}", cell(word)))
        .collect();
    match all.is_empty() {
        true => "none".to_owned(),
        false => all.join(", "),
    }
}

fn line(rollout: &Rollout) -> String {
    let (name, version) = (cell(&rollout.name), cell(&rollout.version));
    let counts = counts(&rollout.counts);
    format!(
        "{} {name} {version}: {}, {counts}\n",
        rollout.id, rollout.state
    )
}

fn text(rollout: &Rollout) -> String {
    let mut text = line(rollout);
    if let Some(message) = &rollout.message {
        text.push_str(&format!("  {}\n", cell(message)));
    }
    for wave in &rollout.waves {
        let opened = wave.opened_at.as_deref().unwrap_or("not open");
        let (number, bytes) = (wave.number, wave.bytes);
        text.push_str(&format!(
            "  wave {number} ({opened}): {}, {bytes} bytes",
            counts(&wave.counts)
        ));
        if !wave.risks.is_empty() {
            text.push_str(&format!("; at risk: {}", counts(&wave.risks)));
        }
        text.push('\n');
    }
    if !rollout.left_out.is_empty() {
        text.push_str(&format!("  left out: {}\n", counts(&rollout.left_out)));
    }
    for failures in &rollout.failures {
        let advice = failures.advice.as_deref().unwrap_or("see the jobs");
        text.push_str(&format!(
            "  {} failed with {}: ",
            failures.number,
            cell(&failures.word)
        ));
        text.push_str(&format!("{}\n", out::escaped(advice)));
    }
    if let Some(stop) = &rollout.stop {
        let away = stop.to_reach.saturating_sub(stop.linked);
        let seconds = stop
            .seconds
            .map_or("not yet".to_owned(), |seconds| format!("after {seconds} s"));
        text.push_str(&format!(
            "  stopped: {} linked terminals have yet to hear of it, {away} are away; the last had it: \
             {seconds}\n",
            stop.linked
        ));
    }
    text
}

fn preview(preview: &Preview) -> String {
    let mut shown = text(&preview.rollout);
    let estimate = &preview.estimate;
    shown.push_str(&format!("  {} bytes", estimate.bytes));
    match estimate.seconds {
        Some(seconds) => shown.push_str(&format!(
            ", {seconds} s without closed windows, by {} earlier jobs\n",
            estimate.measured
        )),
        None => shown.push_str("; no earlier jobs tell how long it takes\n"),
    }
    for (what, targets) in [("at risk", &preview.risks), ("left out", &preview.left_out)] {
        for target in targets {
            let word = target.risk.as_ref().or(target.word.as_ref());
            let word = word.map_or("-".to_owned(), |word| cell(word));
            shown.push_str(&format!("  {what}: {} {word}\n", cell(&target.terminal)));
        }
    }
    shown
}
