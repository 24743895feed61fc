//! Lists and details as text.

use indicatif::{HumanBytes, ProgressStyle};

use super::text_or_dash;
use crate::store::jobs::{Job, JobResult};
use crate::store::packages::Package;
use crate::store::terminals::Terminal;
use crate::web::jobs::JobRecord;

/// A bar that counts bytes.
pub fn bytes_style() -> ProgressStyle {
    style("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
}

/// A bar that counts per cent or jobs.
pub fn count_style() -> ProgressStyle {
    style("{msg} [{bar:30}] {pos}/{len}")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// Columns as wide as their widest cell.
fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).max(header[column].len())
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths);
        let padded: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

fn dash(text: &str) -> String {
    match text {
        "" => "-".to_owned(),
        text => text.to_owned(),
    }
}

/// One package in a line.
pub fn package(package: &Package) -> String {
    format!(
        "package {}: {} ({}), signed by {}\n",
        package.id,
        package.name,
        HumanBytes(package.size),
        package.signer
    )
}

/// A list of packages.
pub fn packages(packages: &[Package]) -> String {
    let row = |package: &Package| {
        vec![
            package.id.to_string(),
            package.product.clone(),
            package.version.clone(),
            package.kind.clone(),
            HumanBytes(package.size).to_string(),
            package.uploaded_at.clone(),
            package.signer.clone(),
        ]
    };
    let header = [
        "ID", "PRODUCT", "VERSION", "KIND", "SIZE", "UPLOADED", "SIGNER",
    ];
    table(&header, &packages.iter().map(row).collect::<Vec<_>>())
}

/// A list of terminals.
pub fn terminals(terminals: &[Terminal]) -> String {
    let row = |terminal: &Terminal| {
        let link = match terminal.online {
            true => "online",
            false => "offline",
        };
        vec![
            terminal.id.clone(),
            link.to_owned(),
            dash(&terminal.product),
            dash(&terminal.version),
            dash(&terminal.kernel),
            terminal.last_seen.clone().unwrap_or_else(|| dash("")),
            terminal.job.map_or_else(|| dash(""), |job| job.to_string()),
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
    ];
    table(&header, &terminals.iter().map(row).collect::<Vec<_>>())
}

/// A list of jobs.
pub fn jobs(jobs: &[Job]) -> String {
    let row = |job: &Job| {
        vec![
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
    table(&header, &jobs.iter().map(row).collect::<Vec<_>>())
}

/// Where a job stands, in a word or two.
pub fn state(job: &Job) -> String {
    match &job.result {
        Some(result) => result.outcome.clone(),
        None if job.cancel_requested_at.is_some() => format!("{} (called off)", job.state),
        None if job.progress > 0 => format!("{} {} %", job.state, job.progress),
        None => job.state.clone(),
    }
}

/// A job with its record.
pub fn record(record: &JobRecord) -> String {
    let job = &record.job;
    let mut text = format!(
        "job {} (order {}): {} {} for {}, ordered by {}\nstate: {}, {} sent\n",
        job.id,
        job.order,
        job.upgrade_type,
        job.version,
        job.terminal,
        job.created_by,
        state(job),
        HumanBytes(job.bytes_served),
    );
    if let Some(result) = &job.result {
        text += &self::result(result);
    }
    for event in &record.events {
        text += &format!("{}  {:16} {}\n", event.at, event.kind, event.detail);
    }
    text
}

/// A result with what it changed.
pub fn result(result: &JobResult) -> String {
    let mut text = format!(
        "{} ({}, {}): {}\n",
        result.outcome, result.code, result.word, result.message
    );
    let details = &result.details;
    for (what, before, after) in [
        ("version", "versionBefore", "versionAfter"),
        ("kernel", "kernelBefore", "kernelAfter"),
        ("parameters", "parametersBefore", "parametersAfter"),
    ] {
        if details.is_object() {
            let (before, after) = (
                text_or_dash(&details[before]),
                text_or_dash(&details[after]),
            );
            text += &format!("  {what}: {before} -> {after}\n");
        }
    }
    for stage in details["stages"].as_array().into_iter().flatten() {
        let seconds = stage["seconds"].as_f64().unwrap_or(0.0);
        text += &format!("  {}: {seconds:.1} s\n", text_or_dash(&stage["name"]));
    }
    text
}

/// What became of a request to call a job off.
pub fn cancelled(job: &Job) -> String {
    match &job.result {
        Some(result) => format!("job {}: {}\n", job.id, result.message),
        None => format!(
            "job {}: the terminal is asked to stop; its result will tell (dau-station follow {})\n",
            job.id, job.id
        ),
    }
}
