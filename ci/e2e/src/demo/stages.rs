//! The stages of an upgrade, observed at the station and on the console.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Result};
use dau_model::State;
use dau_rig::site::Site;
use dau_rig::station::JobView;
use dau_rig::terminal::{limit, line, Mark};

use super::show::Show;

/// Time between two requests to the station.
pub(super) const INTERVAL: Duration = Duration::from_millis(250);

/// A stage that ends with a state at the station or a line on the console.
pub(super) struct Stage {
    pub(super) name: &'static str,
    pub(super) until: State,
    pub(super) line: Option<&'static str>,
}

pub(super) const STAGES: [Stage; 10] = [
    Stage {
        name: "download",
        until: State::Verifying,
        line: Some(line::RECOVERY),
    },
    Stage {
        name: "verify the whole package",
        until: State::BackingUp,
        line: Some(line::RECOVERY),
    },
    Stage {
        name: "back up the parameters and read them back",
        until: State::Armed,
        line: Some(line::RECOVERY),
    },
    Stage {
        name: "set the flag, reboot",
        until: State::Trial,
        line: Some(line::RECOVERY),
    },
    Stage {
        name: "RecoveryOS boots and verifies the package",
        until: State::Trial,
        line: Some(line::WRITING_KERNEL),
    },
    Stage {
        name: "write the kernel slot, read it back",
        until: State::Trial,
        line: Some(line::KERNEL_WRITTEN),
    },
    Stage {
        name: "write the root filesystem, read it back",
        until: State::Trial,
        line: Some(line::ROOTFS_WRITTEN),
    },
    Stage {
        name: "restore the parameters",
        until: State::Trial,
        line: Some(line::RESTORED),
    },
    Stage {
        name: "commit, reboot",
        until: State::Trial,
        line: Some(line::NORMAL),
    },
    Stage {
        name: "the new OS boots and links up",
        until: State::Trial,
        line: None,
    },
];

/// A job under observation, at the station and on the console.
pub(super) struct Follow {
    pub(super) mark: Mark,
    pub(super) job: i64,
    pub(super) started: Instant,
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

    /// Waits for a state no earlier than `until` or for a line. An earlier result is an error.
    pub(super) fn until(
        &mut self,
        show: &mut Show,
        site: &mut Site,
        until: State,
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
            if view.state.parse().ok() >= Some(until) {
                return Ok(());
            }
            show.detail(&view.state, Some(f64::from(view.progress) / 100.0));
            std::thread::sleep(INTERVAL);
        }
    }

    /// Waits for the result.
    pub(super) fn result(&self, show: &mut Show, site: &mut Site) -> Result<JobView> {
        loop {
            let view = self.look(site)?;
            if view.outcome.is_some() {
                return Ok(view);
            }
            show.detail(&view.state, None);
            std::thread::sleep(INTERVAL);
        }
    }
}
