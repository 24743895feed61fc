//! `make demo`: one whole upgrade, shown stage by stage.

mod show;
mod table;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};

use crate::iec104::Watch;
use crate::places::{repository, Places, NEW, OLD};
use crate::process::tail;
use crate::scenarios::expect;
use crate::site::{Site, TERMINAL};
use crate::station::JobView;
use crate::terminal::{limit, line, Mark};
use show::Show;
use table::{Facts, Side};

/// How often the station is asked.
const LOOK: Duration = Duration::from_millis(250);

/// Shows everything; fails unless all of it went well.
pub fn run(images: Option<&Path>, pki: Option<&Path>) -> Result<()> {
    let mut show = Show::new();
    let started = Instant::now();
    if images.is_none() {
        build(&mut show)?;
    }
    let places = Places::new(images.map(Path::to_owned), pki.map(Path::to_owned))?;
    let folder = repository().canonicalize()?.join("build/demo/run");
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

/// Images and packages of both versions, as `make image` makes them.
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
            std::thread::sleep(LOOK);
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
        expect::SETTINGS,
        expect::SET_HERE.lines().last().unwrap_or_default()
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
    show.begin("order a full upgrade; the terminal takes it");
    let mut follow = Follow {
        mark: site.terminal.console().mark(),
        job: site.station.order(TERMINAL, number, "full")?,
        started: began,
    };
    let job = follow.job;
    follow.until(show, &mut site, 1, None)?;
    show.end(&format!("job {job}"));

    for stage in STAGES {
        show.begin(stage.name);
        follow.until(show, &mut site, stage.rank, stage.line)?;
        show.end("");
    }
    show.begin("health checks pass, the new OS is confirmed");
    let view = follow.result(show, &mut site)?;
    show.end("");

    show.begin("the station has the result, the application serves");
    site.terminal.wait_until_serving()?;
    site.wait_for_acknowledgement(job)?;
    site.exactly_one_result(job)?;
    // One more answer ends the last silence.
    std::thread::sleep(Duration::from_secs(1));
    let silence = watch.longest_silence(began);
    drop(watch);
    let after = side(&mut site)?;
    show.end(view.outcome.as_deref().unwrap_or_default());

    show.begin("power off; look at the terminal's disk");
    site.power_cut();
    let on_disk = expect::upgraded(&site, expect::Kind::Full);
    show.end("");
    Ok(Facts {
        before,
        after,
        bytes: site.link.bytes_down(),
        package: size,
        out_of_service: silence,
        on_disk: on_disk.map_err(|error| format!("{error:#}")),
        view,
    })
}

/// A stage that ends when the station knows of a later state, or the console shows a line.
struct Stage {
    name: &'static str,
    rank: usize,
    line: Option<&'static str>,
}

/// States of a job in their order; [`Stage::rank`] is the first that means that the stage is over.
const STATES: [&str; 10] = [
    "ordered",
    "accepted",
    "downloading",
    "verifying",
    "backing-up",
    "armed",
    "installing",
    "trial",
    "rolling-back",
    "finished",
];

const STAGES: [Stage; 10] = [
    Stage {
        name: "download",
        rank: 3,
        line: Some(line::RECOVERY),
    },
    Stage {
        name: "verify the whole package",
        rank: 4,
        line: Some(line::RECOVERY),
    },
    Stage {
        name: "back up the parameters and read them back",
        rank: 5,
        line: Some(line::RECOVERY),
    },
    Stage {
        name: "set the flag, reboot",
        rank: 7,
        line: Some(line::RECOVERY),
    },
    Stage {
        name: "RecoveryOS boots and verifies the package",
        rank: 7,
        line: Some(line::WRITING_KERNEL),
    },
    Stage {
        name: "write the kernel slot, read it back",
        rank: 7,
        line: Some(line::KERNEL_WRITTEN),
    },
    Stage {
        name: "write the root filesystem, read it back",
        rank: 7,
        line: Some(line::ROOTFS_WRITTEN),
    },
    Stage {
        name: "restore the parameters",
        rank: 7,
        line: Some(line::RESTORED),
    },
    Stage {
        name: "commit, reboot",
        rank: 7,
        line: Some(line::NORMAL),
    },
    Stage {
        name: "the new OS boots and links up",
        rank: 7,
        line: None,
    },
];

/// One job, followed at the station and on the console.
struct Follow {
    mark: Mark,
    job: i64,
    started: Instant,
}

impl Follow {
    fn look(&self, site: &mut Site) -> Result<JobView> {
        site.terminal.check()?;
        site.station.check()?;
        ensure!(
            self.started.elapsed() < limit::JOB,
            "the upgrade takes too long"
        );
        site.station.job(self.job)
    }

    /// Waits for a state of at least `rank`, or for a line. A result before the end is an early end.
    fn until(
        &mut self,
        show: &mut Show,
        site: &mut Site,
        rank: usize,
        line: Option<&str>,
    ) -> Result<()> {
        loop {
            if let Some(line) = line {
                // The mark stays before the line while an earlier stage still waits for it.
                let mut mark = self.mark;
                if site.terminal.console().find(&mut mark, line).is_some() {
                    return Ok(());
                }
            }
            let view = self.look(site)?;
            if let Some(outcome) = view
                .outcome
                .as_deref()
                .filter(|outcome| *outcome != "success")
            {
                bail!(
                    "job {} ended {outcome} ({}): {}",
                    self.job,
                    view.word,
                    view.message
                );
            }
            if STATES.iter().position(|state| *state == view.state) >= Some(rank) {
                return Ok(());
            }
            show.detail(&view.state, Some(f64::from(view.progress) / 100.0));
            std::thread::sleep(LOOK);
        }
    }

    fn result(&self, show: &mut Show, site: &mut Site) -> Result<JobView> {
        loop {
            let view = self.look(site)?;
            if view.outcome.is_some() {
                return Ok(view);
            }
            show.detail(&view.state, None);
            std::thread::sleep(LOOK);
        }
    }
}

/// What the station knows of the terminal.
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
