//! Figures for `make bench`: the agent's memory, sizes, and the time out of service.

mod figures;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};

use crate::scenarios::expect;
use crate::timeline::{self, Step};
use dau_rig::iec104::Watch;
use dau_rig::places::{Places, NEW, OLD};
use dau_rig::site::Site;
use dau_rig::terminal::{limit, line, Terminal};
use dau_rig::wait;
use figures::{print, sizes, Figure};

/// Download speed while the agent's memory is measured, bytes per second.
const SLOW: u64 = 1 << 20;
/// Number of memory measurements per state.
const SAMPLES: u32 = 5;

/// Measurements of one upgrade.
#[derive(Debug, Default)]
struct Run {
    agent_idle: f64,
    agent_downloading: f64,
    agent_peak: f64,
    recovery_peak: f64,
    /// Seconds from power-on to the application's first answer.
    power_on: f64,
    /// The same from U-Boot's first line after a reboot.
    bare_boot: f64,
    /// Seconds of processor for that.
    bare_work: f64,
    raw_write: f64,
    out_of_service: f64,
    /// Where that time went.
    steps: Vec<Step>,
}

impl Run {
    /// What an upgrade cannot do without, seconds: a boot of RecoveryOS, one of the new OS, and
    /// writing.
    fn bare(&self) -> f64 {
        2.0 * self.bare_boot + self.raw_write
    }

    /// Seconds of processor of all steps.
    fn work(&self) -> f64 {
        self.steps.iter().map(|step| step.worked).sum()
    }
}

/// Measures `runs` upgrades, prints a table of medians, and writes JSON to `json`. Fails if a
/// figure exceeds its limit.
pub fn run(places: &Places, runs: usize, json: Option<&Path>) -> Result<()> {
    let _lock = dau_rig::places::lock_folder(places.work())?;
    let mut all = Vec::new();
    for number in 1..=runs.max(1) {
        let folder = places.work().join(format!("measure-{number}"));
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        eprintln!("upgrade {number} of {runs}");
        all.push(upgrade(places, &folder)?);
    }
    let median = |value: fn(&Run) -> f64| middle(all.iter().map(value).collect());
    let figure = |name, unit, value, limit| Figure {
        name,
        unit,
        value,
        limit,
    };
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
            Some(14.0),
        ),
        figure(
            "out of service ÷ two bare boots and the raw write",
            "times",
            median(|run| run.out_of_service / run.bare()),
            Some(1.2),
        ),
        figure(
            "  out of service",
            "s",
            median(|run| run.out_of_service),
            None,
        ),
        figure(
            "  two bare boots and the raw write",
            "s",
            median(Run::bare),
            None,
        ),
        figure(
            "  of these, one boot, after a reboot",
            "s",
            median(|run| run.bare_boot),
            None,
        ),
        figure("  of the processor", "s", median(|run| run.bare_work), None),
        figure(
            "  one boot from power-on, for comparison",
            "s",
            median(|run| run.power_on),
            None,
        ),
        figure(
            "out of service ÷ two bare boots, of the processor",
            "times",
            median(|run| run.work() / (2.0 * run.bare_work)),
            None,
        ),
    ];
    let steps = all.first().map_or(&[][..], |run| &run.steps);
    for (number, Step { name, .. }) in steps.iter().enumerate() {
        let of = |value: fn(&Step) -> f64| {
            middle(
                all.iter()
                    .filter_map(|run| run.steps.get(number))
                    .map(value)
                    .collect(),
            )
        };
        figures.push(figure(name, "s", of(|step| step.seconds), None));
        figures.push(figure(
            "  of the processor",
            "s",
            of(|step| step.worked),
            None,
        ));
    }
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

/// Returns the median.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn upgrade(places: &Places, folder: &Path) -> Result<Run> {
    let mut site = Site::new(places, folder, &expect::options())?;
    let mut run = Run::default();
    let powered = Instant::now();
    site.terminal.power_on()?;
    site.terminal.wait_until_serving()?;
    run.power_on = powered.elapsed().as_secs_f64();
    (run.bare_boot, run.bare_work) = restart(&mut site)?;
    site.wait_for_version(OLD)?;
    let content = site.payload(NEW, "full", "kernel.itb")?.len()
        + dau_rig::hostile::rootfs_image(&places.package(NEW, "full"))?.len();
    run.raw_write = raw_write(&mut site.terminal, content)?;
    run.agent_idle = resident(&mut site.terminal, "VmRSS")?;

    let watch = Watch::start(site.terminal.application_port());
    let marked = site.terminal.console().mark();
    let mut mark = marked;
    site.proxy.limit(Some(SLOW));
    let began = Instant::now();
    let job = site.order(NEW, "full")?;
    wait::until("the download", limit::COMMAND, || {
        Ok((site.proxy.bytes_down() > 2 * SLOW).then_some(()))
    })?;
    run.agent_downloading = resident(&mut site.terminal, "VmRSS")?;
    run.agent_peak = resident(&mut site.terminal, "VmHWM")?;
    site.proxy.limit(None);
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
    let silence = watch.longest_silence(began);
    let silence = silence.context("the time out of service was not seen")?;
    run.out_of_service = (silence.1 - silence.0).as_secs_f64();
    run.steps = timeline::steps(site.terminal.console(), marked, silence);
    Ok(run)
}

/// Reboots a terminal that does nothing else. Returns the seconds from U-Boot's first line to the
/// application's first answer, and those of the processor.
///
/// The boots of an upgrade are such: QEMU is slow where U-Boot unpacks a kernel over the code of the
/// one before, which it has translated (2.2 s of processor instead of 0.35 s after power-on).
fn restart(site: &mut Site) -> Result<(f64, f64)> {
    let mut mark = site.terminal.console().mark();
    site.terminal.shell()?.start("reboot")?;
    site.wait_for_line(&mut mark, line::U_BOOT)?;
    let began = Instant::now();
    let worked = site.terminal.console().worked(began);
    site.terminal.wait_until_serving()?;
    let console = site.terminal.console();
    let worked = console.worked(Instant::now()) - worked;
    Ok((began.elapsed().as_secs_f64(), worked))
}

/// Returns the seconds that dd takes to write this many bytes to the disk on the running OS.
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

/// Returns the largest of several measurements of the agent's memory, MiB.
fn resident(terminal: &mut Terminal, key: &str) -> Result<f64> {
    let mut largest = 0.0_f64;
    for _ in 0..SAMPLES {
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
