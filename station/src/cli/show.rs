//! Formats lists and details as text.

use std::collections::BTreeMap;

use indicatif::{HumanBytes, ProgressStyle};
use serde_json::Value;

use super::out::{cell, escaped};
use super::text_or_dash;
use crate::store::deltas::Delta;
use crate::store::events::Event;
use crate::store::jobs::{Job, JobResult};
use crate::store::orders::{Order, Skipped};
use crate::store::packages::Package;
use crate::store::terminals::Terminal;
use crate::web::jobs::JobRecord;
use crate::web::terminals::CancelledAt;

/// Most jobs of an order to name, and most terminals that it skipped for a reason.
pub const MAX_NAMED: u64 = 10;

/// Returns a bar that counts bytes.
pub fn bytes_style() -> ProgressStyle {
    style("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
}

/// Returns a bar that counts per cent or jobs.
pub fn count_style() -> ProgressStyle {
    style("{msg} [{bar:30}] {pos}/{len}")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// Formats a table with columns as wide as their widest cell; cells are escaped and cut.
fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|text| cell(text)))
        .collect();
    let mut widths = header.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> = cells
            .into_iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(header);
    for row in &rows {
        text += &line(row.each_ref().map(String::as_str));
    }
    text
}

fn dash(text: &str) -> String {
    match text {
        "" => "-".to_owned(),
        text => text.to_owned(),
    }
}

/// Formats a package as one line.
pub fn package(package: &Package) -> String {
    format!(
        "package {}: {} ({}), signed by {}\n",
        package.id,
        cell(&package.name),
        HumanBytes(package.size),
        cell(&package.signer)
    )
}

/// Formats a list of packages.
pub fn packages(packages: &[Package]) -> String {
    let row = |package: &Package| {
        [
            package.id.to_string(),
            package.product.clone(),
            package.version.clone(),
            match package.target {
                None => package.kind.clone(),
                Some(_) => format!("{} delta", package.kind),
            },
            HumanBytes(package.size).to_string(),
            package.uploaded_at.clone(),
            package.signer.clone(),
        ]
    };
    let header = [
        "ID", "PRODUCT", "VERSION", "KIND", "SIZE", "UPLOADED", "SIGNER",
    ];
    table(header, &packages.iter().map(row).collect::<Vec<_>>())
}

/// Formats a list of deltas.
pub fn deltas(deltas: &[Delta]) -> String {
    let row = |delta: &Delta| {
        [
            delta.id.to_string(),
            delta.base.to_string(),
            delta.target.to_string(),
            delta.state.clone(),
            delta
                .size
                .map_or(String::new(), |size| HumanBytes(size).to_string()),
            delta.package.map_or(String::new(), |id| id.to_string()),
            delta.message.clone(),
        ]
    };
    let header = [
        "ID", "BASE", "TARGET", "STATE", "SIZE", "PACKAGE", "MESSAGE",
    ];
    table(header, &deltas.iter().map(row).collect::<Vec<_>>())
}

/// Formats a list of terminals.
pub fn terminals(terminals: &[Terminal]) -> String {
    let row = |terminal: &Terminal| {
        let link = match (terminal.life.as_str(), terminal.online) {
            ("linked", true) => "online",
            ("linked" | "", false) => "offline",
            (life, _) => life,
        };
        [
            terminal.id.clone(),
            link.to_owned(),
            dash(&terminal.product),
            dash(&terminal.version),
            dash(&terminal.kernel),
            terminal.last_seen.clone().unwrap_or_else(|| dash("")),
            match (terminal.job, terminal.busy_with) {
                (_, Some(foreign)) => format!("{foreign} (not ours)"),
                (Some(job), None) => job.to_string(),
                (None, None) => dash(""),
            },
            dash(&labels(terminal)),
        ]
    };
    let header = [
        "TERMINAL",
        "LINK",
        "PRODUCT",
        "VERSION",
        "KERNEL",
        "LAST SEEN",
        "JOB",
        "ATTRIBUTES",
    ];
    table(header, &terminals.iter().map(row).collect::<Vec<_>>())
}

/// Formats attributes and tags as a filter has them.
fn labels(terminal: &Terminal) -> String {
    let attributes = terminal.attributes.iter();
    let attributes = attributes.map(|(name, value)| format!("{name}={value}"));
    let tags = terminal.tags.iter().map(|tag| format!("tag:{tag}"));
    attributes.chain(tags).collect::<Vec<_>>().join(" ")
}

/// Formats a list of jobs.
pub fn jobs(jobs: &[Job]) -> String {
    let row = |job: &Job| {
        [
            job.id.to_string(),
            job.terminal.clone(),
            job.version.clone(),
            job.upgrade_type.clone(),
            state(job),
            job.created_at.clone(),
            job.result
                .as_ref()
                .map_or(String::new(), |result| result.message.clone()),
        ]
    };
    let header = [
        "JOB", "TERMINAL", "VERSION", "TYPE", "STATE", "ORDERED", "MESSAGE",
    ];
    table(header, &jobs.iter().map(row).collect::<Vec<_>>())
}

/// Formats a job's state in a word or two.
pub fn state(job: &Job) -> String {
    match &job.result {
        Some(result) => cell(&result.outcome),
        None if job.cancel_requested_at.is_some() => format!("{} (cancelling)", cell(&job.state)),
        None if job.progress > 0 => format!("{} {} %", cell(&job.state), job.progress),
        None => cell(&job.state),
    }
}

/// Formats the file of a job.
fn file(job: &Job) -> String {
    match &job.file {
        None => String::new(),
        Some(file) if file.delta => format!(
            "file: delta package {} ({}, {} less than the whole package)\n",
            file.package,
            HumanBytes(file.size),
            HumanBytes(file.saved)
        ),
        Some(file) => format!("file: the whole package ({})\n", HumanBytes(file.size)),
    }
}

/// Formats what a job has spent, and may spend.
fn spent(job: &Job) -> String {
    match (job.bytes_used, job.budget) {
        (None, None) => String::new(),
        (used, None) => format!(", {} used", HumanBytes(used.unwrap_or(0))),
        (used, Some(budget)) => {
            let used = HumanBytes(used.unwrap_or(0));
            format!(", {used} used of {}", HumanBytes(budget))
        }
    }
}

/// Formats a job with its record.
pub fn record(record: &JobRecord) -> String {
    let job = &record.job;
    let mut text = format!(
        "job {} (order {}): {} {} for {}, ordered by {}\nstate: {}, {} sent{}\n",
        job.id,
        job.order,
        cell(&job.upgrade_type),
        cell(&job.version),
        cell(&job.terminal),
        cell(&job.created_by),
        state(job),
        HumanBytes(job.bytes_served),
        spent(job),
    );
    text += &file(job);
    if let Some(result) = &job.result {
        text += &self::result(result);
    }
    text + &events(&record.events)
}

/// Formats events of the record.
pub fn events(events: &[Event]) -> String {
    events.iter().fold(String::new(), |text, event| {
        let (kind, detail) = (cell(&event.kind), escaped(&event.detail.to_string()));
        text + &format!("{}  {kind:16} {detail}\n", cell(&event.at))
    })
}

/// Formats a result and its changes.
pub fn result(result: &JobResult) -> String {
    let mut text = format!(
        "{} ({}, {}): {}\n",
        cell(&result.outcome),
        result.code,
        cell(&result.word),
        escaped(&result.message)
    );
    if let Some(other) = &result.other_package {
        text += &format!(
            "  NOT the ordered package: the terminal names the one with manifest {}\n",
            cell(other)
        );
    }
    let details = &result.details;
    for (what, before, after) in [
        ("version", "versionBefore", "versionAfter"),
        ("kernel", "kernelBefore", "kernelAfter"),
        ("parameters", "parametersBefore", "parametersAfter"),
    ] {
        if details.is_object() {
            let said = |key| details.get(key).map_or("-", text_or_dash);
            let (before, after) = (cell(said(before)), cell(said(after)));
            text += &format!("  {what}: {before} -> {after}\n");
        }
    }
    let stages = details.get("stages").and_then(Value::as_array);
    for stage in stages.into_iter().flatten() {
        let seconds = stage.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
        let name = stage.get("name").map_or("-", text_or_dash);
        text += &format!("  {}: {seconds:.1} s\n", cell(name));
    }
    text
}

/// Formats an order whose jobs are made, its jobs if they are few, and the first of the terminals
/// that got none.
pub fn ordered(order: &Order, jobs: &[Job], skipped: &[Skipped]) -> String {
    let mut text = format!("order {}, jobs: {}\n", order.id, order.jobs);
    for job in jobs {
        text += &format!("job {} for {}\n", job.id, cell(&job.terminal));
    }
    for (reason, count) in &order.skipped {
        let same = skipped.iter().filter(|skipped| skipped.reason == *reason);
        let named = |skipped: &Skipped| match skipped.job {
            Some(job) => format!("{} (job {job})", cell(&skipped.terminal)),
            None => cell(&skipped.terminal),
        };
        let shown: Vec<String> = same.map(named).take(MAX_NAMED as usize).collect();
        let more = match count.saturating_sub(shown.len() as u64) {
            0 => String::new(),
            more if shown.is_empty() => format!("{more} terminals"),
            more => format!(" and {more} more"),
        };
        text += &format!(
            "{count} skipped, {}: {}{more}\n",
            cell(reason),
            shown.join(", ")
        );
    }
    text
}

/// Formats numbers of jobs by state or outcome.
pub fn counts(counts: &BTreeMap<String, u64>) -> String {
    let counts = counts.iter();
    let counts: Vec<String> = counts
        .map(|(state, count)| format!("{count} {}", cell(state)))
        .collect();
    counts.join(", ")
}

/// Formats a list of orders.
pub fn orders(orders: &[Order]) -> String {
    let row = |order: &Order| {
        [
            order.id.to_string(),
            order.version.clone(),
            order.upgrade_type.clone(),
            order.state.clone(),
            order.terminals.to_string(),
            order.skipped.values().sum::<u64>().to_string(),
            counts(&order.counts),
            order.created_by.clone(),
            order.created_at.clone(),
        ]
    };
    let header = [
        "ORDER",
        "VERSION",
        "TYPE",
        "STATE",
        "TERMINALS",
        "SKIPPED",
        "JOBS",
        "BY",
        "ORDERED",
    ];
    table(header, &orders.iter().map(row).collect::<Vec<_>>())
}

/// Formats the answer to a cancellation at a terminal.
pub fn cancelled_at(done: &CancelledAt) -> String {
    let (job, terminal) = (done.job, cell(&done.terminal));
    match done.own {
        true => format!("job {job} is being cancelled (dau-station follow {job})\n"),
        false => format!("{terminal} is asked to stop job {job}, which is not this station's\n"),
    }
}

/// Formats the answer to a job's cancellation.
pub fn cancelled(job: &Job) -> String {
    match &job.result {
        Some(result) => format!("job {}: {}\n", job.id, escaped(&result.message)),
        None => format!(
            "job {}: the terminal is asked to stop; its result will tell (dau-station follow {})\n",
            job.id, job.id
        ),
    }
}
