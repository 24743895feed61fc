//! Figures for `make bench`: memory on the terminal, sizes, and the time out of service.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use serde::Serialize;

use crate::iec104::Watch;
use crate::places::{repository, Places, NEW};
use crate::process::{run as run_tool, tool};
use crate::scenarios::expect;
use crate::site::Site;
use crate::terminal::{limit, line, Terminal};
use crate::wait;

/// Bytes a second of the download while the agent's memory is looked at.
const SLOW: u64 = 1 << 20;
/// Looks at the agent's memory in each state.
const LOOKS: u32 = 5;

/// A measured figure.
#[derive(Debug, Serialize)]
struct Figure {
    name: &'static str,
    unit: &'static str,
    value: f64,
    /// What it may be at most; `None`: for comparison.
    limit: Option<f64>,
}

/// What one upgrade shows.
#[derive(Debug, Default)]
struct Run {
    agent_idle: f64,
    agent_downloading: f64,
    agent_peak: f64,
    recovery_peak: f64,
    bare_boot: f64,
    raw_write: f64,
    out_of_service: f64,
}

/// Measures, prints a table, and writes JSON if that is asked for. Medians of `runs` upgrades. Fails when a figure is above
/// its limit.
pub fn run(places: &Places, runs: usize, json: Option<&Path>) -> Result<()> {
    let mut all = Vec::new();
    for number in 1..=runs.max(1) {
        let folder = places.work().join(format!("measure-{number}"));
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        eprintln!("upgrade {number} of {runs}");
        all.push(upgrade(places, &folder)?);
    }
    let median = |value: fn(&Run) -> f64| {
        let mut values: Vec<f64> = all.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let figure = |name, unit, value, limit| Figure {
        name,
        unit,
        value,
        limit,
    };
    let bare = 2.0 * median(|run| run.bare_boot) + median(|run| run.raw_write);
    let mut figures = vec![
        figure(
            "agent, resident, idle",
            "MiB",
            median(|run| run.agent_idle),
            Some(8.0),
        ),
        figure(
            "agent, resident, downloading",
            "MiB",
            median(|run| run.agent_downloading),
            Some(8.0),
        ),
        figure(
            "agent, resident, peak until then",
            "MiB",
            median(|run| run.agent_peak),
            Some(8.0),
        ),
        figure(
            "recovery, resident, peak",
            "MiB",
            median(|run| run.recovery_peak),
            Some(16.0),
        ),
        figure(
            "seconds out of service",
            "s",
            median(|run| run.out_of_service),
            None,
        ),
        figure("  two bare boots and the raw write", "s", bare, None),
        figure(
            "  of these, one boot",
            "s",
            median(|run| run.bare_boot),
            None,
        ),
    ];
    figures.extend(sizes(places)?);
    print(&figures);
    if let Some(path) = json {
        std::fs::write(path, serde_json::to_vec_pretty(&figures)?)?;
    }
    let above = figures
        .iter()
        .filter(|figure| figure.limit.is_some_and(|limit| figure.value > limit));
    let above: Vec<&str> = above.map(|figure| figure.name).collect();
    ensure!(above.is_empty(), "above the limit: {}", above.join(", "));
    Ok(())
}

fn print(figures: &[Figure]) {
    println!("{:40} {:>10} {:>10}", "", "measured", "limit");
    for figure in figures {
        let limit = figure
            .limit
            .map_or(String::new(), |limit| format!("{limit:.0} {}", figure.unit));
        let value = format!("{:.2} {}", figure.value, figure.unit);
        println!("{:40} {value:>10} {limit:>10}", figure.name);
    }
}

fn upgrade(places: &Places, folder: &Path) -> Result<Run> {
    let mut site = Site::new(places, folder, &expect::options())?;
    let mut run = Run::default();
    let powered = Instant::now();
    site.terminal.power_on()?;
    site.terminal.wait_until_serving()?;
    run.bare_boot = powered.elapsed().as_secs_f64();
    site.wait_for_version(crate::places::OLD)?;
    let content = site.payload(NEW, "full", "kernel.itb")?.len()
        + crate::hostile::rootfs_image(&places.package(NEW, "full"))?.len();
    run.raw_write = raw_write(&mut site.terminal, content)?;
    run.agent_idle = resident(&mut site.terminal, "VmRSS")?;

    let watch = Watch::start(site.terminal.application_port());
    let mut mark = site.terminal.console().mark();
    site.link.limit(Some(SLOW));
    let began = Instant::now();
    let job = site.order(NEW, "full")?;
    wait::until("the download", limit::COMMAND, || {
        Ok((site.link.bytes_down() > 2 * SLOW).then_some(()))
    })?;
    run.agent_downloading = resident(&mut site.terminal, "VmRSS")?;
    run.agent_peak = resident(&mut site.terminal, "VmHWM")?;
    site.link.limit(None);
    let peak = site.wait_for_line(&mut mark, line::PEAK_MEMORY)?;
    let kib = peak
        .split_ascii_whitespace()
        .next()
        .and_then(|word| word.parse::<f64>().ok());
    run.recovery_peak = kib.with_context(|| format!("RecoveryOS's memory is '{peak}'"))? / 1024.0;
    let view = site.wait_for_result(job)?;
    expect::success(&view, expect::Kind::Full)?;
    site.terminal.wait_until_serving()?;
    std::thread::sleep(Duration::from_secs(1));
    run.out_of_service = watch.longest_silence(began).as_secs_f64();
    Ok(run)
}

/// Seconds to write so many bytes to the disk by dd, from the running OS.
fn raw_write(terminal: &mut Terminal, bytes: usize) -> Result<f64> {
    let blocks = bytes.div_ceil(1 << 20);
    let began = Instant::now();
    terminal.shell()?.run("true")?;
    let prompt = began.elapsed();
    let began = Instant::now();
    let write = format!(
        "dd if=/dev/zero of=/mnt/raw bs=1M count={blocks} conv=fsync 2>/dev/null; rm /mnt/raw"
    );
    terminal.shell()?.run(&write)?;
    Ok(began.elapsed().saturating_sub(prompt).as_secs_f64())
}

/// The largest of several looks at the agent's memory, MiB.
fn resident(terminal: &mut Terminal, key: &str) -> Result<f64> {
    let mut largest = 0.0_f64;
    for _ in 0..LOOKS {
        let command = format!("grep {key} /proc/$(pidof dau-agent)/status");
        let said = terminal.shell()?.run(&command)?;
        let kib = said
            .split_ascii_whitespace()
            .skip_while(|word| !word.starts_with(key))
            .nth(1);
        let kib: f64 = kib
            .and_then(|word| word.parse().ok())
            .with_context(|| format!("{key}: {said}"))?;
        largest = largest.max(kib / 1024.0);
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(largest)
}

/// Sizes of what the reference builder made; of other builders' images only what is in them.
fn sizes(places: &Places) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let programs = repository().join("build/reference/bin");
    for (program, name, limit) in [
        ("dau-agent", "size of dau-agent, stripped", Some(2.0)),
        ("dau-recovery", "size of dau-recovery, stripped", None),
    ] {
        if let Ok(metadata) = std::fs::metadata(programs.join(program)) {
            let value = metadata.len() as f64 / f64::from(1 << 20);
            figures.push(Figure {
                name,
                unit: "MiB",
                value,
                limit,
            });
        }
    }
    let listing = run_tool(tool("dumpimage").arg("-l").arg(places.recovery()))?;
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let initramfs = listing
        .split("(initramfs)")
        .nth(1)
        .and_then(|rest| rest.split("Data Size:").nth(1));
    let bytes =
        initramfs.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<f64>().ok());
    figures.push(Figure {
        name: "RecoveryOS's initramfs, compressed",
        unit: "MiB",
        value: bytes.context("recovery.itb has no initramfs")? / f64::from(1 << 20),
        limit: Some(8.0),
    });
    Ok(figures)
}
