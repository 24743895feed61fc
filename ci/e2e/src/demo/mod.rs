//! `make demo`: a whole upgrade, shown stage by stage.

mod show;
mod stages;
mod table;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use crate::scenarios::expect;
use crate::timeline;
use dau_model::State;
use dau_rig::iec104::Watch;
use dau_rig::places::{repository, Places, NEW, OLD};
use dau_rig::process::tail;
use dau_rig::site::{Site, SETTINGS, SET_HERE, TERMINAL};
use show::Show;
use stages::{Follow, INTERVAL, STAGES};
use table::{Facts, Side};

/// Runs the demo; fails unless everything went well.
pub fn run(images: Option<&Path>, pki: Option<&Path>) -> Result<()> {
    let mut show = Show::new();
    let started = Instant::now();
    let work = repository().canonicalize()?.join("build/demo");
    let _lock = dau_rig::places::lock_folder(&work)?;
    if images.is_none() {
        build(&mut show)?;
    }
    let places = Places::new(images.map(Path::to_owned), pki.map(Path::to_owned))?;
    let folder = work.join("run");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let log = folder.join("terminal/console.log");
    let shown = upgrade(&mut show, &places, &folder);
    show.close();
    println!("\nThe terminal's serial console: {}", log.display());
    let facts = shown?;
    println!("\n{facts}");
    println!("{:.0} s in all", started.elapsed().as_secs_f64());
    facts.check()
}

/// Builds images and packages of both versions by `make image`.
fn build(show: &mut Show) -> Result<()> {
    let folder = repository().canonicalize()?.join("build/demo");
    std::fs::create_dir_all(&folder)?;
    let log = folder.join("build.log");
    let file = std::fs::File::create(&log)?;
    for version in [OLD, NEW] {
        show.begin(&format!("build images and packages of {version}"));
        let mut child = Command::new(repository().join("ci/image"))
            .env("VERSION", version)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file.try_clone()?)
            .spawn()
            .context("cannot run ci/image")?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            show.detail(tail(&log, 1).trim(), None);
            std::thread::sleep(INTERVAL);
        };
        if !status.success() {
            bail!(
                "the build failed, see {}:\n{}",
                log.display(),
                tail(&log, 20)
            );
        }
        show.end("");
    }
    Ok(())
}

fn upgrade(show: &mut Show, places: &Places, folder: &Path) -> Result<Facts> {
    show.begin("start broker, station and terminal");
    let mut site = Site::new(places, folder, &expect::options())?;
    show.end(&format!(
        "{} is set to: {}",
        SETTINGS,
        SET_HERE.lines().last().unwrap_or_default()
    ));

    show.begin(&format!("terminal boots OS {OLD} and links up"));
    site.start()?;
    site.terminal.wait_until_serving()?;
    let before = side(&mut site)?;
    show.end(&format!("kernel {}", before.kernel));

    let package = places.package(NEW, "full");
    let size = std::fs::metadata(&package)?.len();
    show.begin("upload the package; the station verifies it");
    let number = site.station.upload(&package)?;
    show.end(&format!("package {number}, {}", show::bytes(size)));

    let watch = Watch::start(site.terminal.application_port());
    let began = Instant::now();
    let marked = site.terminal.console().mark();
    show.begin("order a full upgrade; the terminal takes it");
    let mut follow = Follow {
        mark: site.terminal.console().mark(),
        job: site.station.order(TERMINAL, number, "full")?,
        started: began,
    };
    let job = follow.job;
    follow.until(show, &mut site, State::Accepted, None)?;
    show.end(&format!("job {job}"));

    for stage in STAGES {
        show.begin(stage.name);
        follow.until(show, &mut site, stage.until, stage.line)?;
        show.end("");
    }
    show.begin("health checks pass, the new OS is confirmed");
    let view = follow.result(show, &mut site)?;
    show.end("");

    show.begin("the station has the result, the application serves");
    site.terminal.wait_until_serving()?;
    site.wait_for_acknowledgement(job)?;
    site.station.exactly_one_result(job)?;
    // One more answer ends the last silence.
    std::thread::sleep(Duration::from_secs(1));
    let silence = watch.longest_silence(began);
    drop(watch);
    let silence = silence.context("the time out of service was not seen")?;
    let steps = timeline::steps(site.terminal.console(), marked, silence);
    let after = side(&mut site)?;
    show.end(view.outcome.as_deref().unwrap_or_default());

    show.begin("power off; look at the terminal's disk");
    site.power_cut();
    let on_disk = expect::upgraded(&site, expect::Kind::Full);
    show.end("");
    Ok(Facts {
        before,
        after,
        bytes: site.proxy.bytes_down(),
        package: size,
        out_of_service: silence.1 - silence.0,
        steps,
        on_disk: on_disk.map_err(|error| format!("{error:#}")),
        view,
    })
}

/// Returns the station's data on the terminal.
fn side(site: &mut Site) -> Result<Side> {
    let terminal = site
        .station
        .terminal(TERMINAL)?
        .context("the station knows the terminal")?;
    Ok(Side {
        version: terminal.version,
        kernel: terminal.kernel,
    })
}
