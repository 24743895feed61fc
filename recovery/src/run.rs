//! One run: finds out, plans, acts, until only a reboot is left.

use anyhow::{bail, Result};
use dau_boot_state::{BootState, DEFAULT_TRIES};
use dau_handoff::MAX_FAILURES;
use dau_model::State;
use dau_system::cmdline::BootReason;

use crate::plan::{plan, Plan};
use crate::session::Session;
use crate::terminal::Terminal;
use crate::{boot, check, install, kernel, rollback};

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Done: reboot.
    Reboot,
    /// Failed and counted: a reboot may help.
    Failed,
    /// Stuck, or failed too often: wait, longer each time, and try again.
    Stuck,
}

impl Ended {
    /// Returns the exit status of the program.
    pub fn status(self) -> u8 {
        match self {
            Ended::Reboot => 0,
            Ended::Failed => 1,
            Ended::Stuck => 3,
        }
    }

    /// Returns the end for an exit status.
    pub fn from_status(status: i32) -> Option<Self> {
        [Ended::Reboot, Ended::Failed, Ended::Stuck]
            .into_iter()
            .find(|ended| i32::from(ended.status()) == status)
    }
}

/// Runs RecoveryOS. `crashed`: the way an earlier run died without counting its failure.
pub fn run(terminal: &Terminal, crashed: Option<&str>) -> Ended {
    if terminal.reason == Some(BootReason::Check) {
        return checked(terminal, crashed);
    }
    let mut session = match Session::open(terminal) {
        Ok(session) => session,
        Err(error) => {
            log::error!("{}", chain(&error));
            return Ended::Failed;
        }
    };
    let ended = match work(&mut session, crashed) {
        Ok(ended) => ended,
        Err(error) => failed(&mut session, &chain(&error)),
    };
    if let Some(kib) = peak_memory() {
        log::info!("peak memory: {kib} KiB");
    }
    if let Err(error) = session.close() {
        log::error!("{}", chain(&error));
    }
    nix::unistd::sync();
    ended
}

/// Checks a new RecoveryOS. Whatever the result, the next boot is the normal OS's.
fn checked(terminal: &Terminal, crashed: Option<&str>) -> Ended {
    let outcome = match crashed {
        Some(how) => Err(anyhow::anyhow!("{how}")),
        None => check::run(terminal),
    };
    if let Err(error) = &outcome {
        log::error!(
            "this RecoveryOS does not prove itself, the old one stays in charge: {}",
            chain(error)
        );
    }
    check::keep_log(terminal);
    nix::unistd::sync();
    match outcome {
        Ok(()) => Ended::Reboot,
        Err(_) => Ended::Failed,
    }
}

fn work(session: &mut Session, crashed: Option<&str>) -> Result<Ended> {
    if let Some(how) = crashed {
        session.count_failure(how)?;
    }
    if let Some(why) = session.half_written() {
        log::error!("{why}");
        return Ok(Ended::Stuck);
    }
    // Each package is verified at most once, so the plan is final after this many rounds.
    for _ in 0..4 {
        let plan = plan(&session.facts());
        log::info!("plan: {plan}");
        match plan {
            Plan::Judge(package) => {
                session.judge(package)?;
                continue;
            }
            Plan::Install => install::run(session)?,
            Plan::Rollback(plan) => rollback::run(session, &plan)?,
            Plan::Settle { kernel, result } => {
                if let Some(result) = result {
                    session.update_job(|job| job.finish(result))?;
                }
                boot::save(session.terminal, |state| state.steady(kernel))?;
            }
            Plan::RepairKernel { refused } => {
                let slot = kernel::ensure_bootable(
                    session.terminal,
                    session.layout(),
                    None,
                    Some(refused),
                )?;
                boot::save(session.terminal, |state| state.steady(slot))?;
            }
            Plan::Rebuild { kernel, trial } => rebuild(session, kernel, trial)?,
            Plan::TrialAgain { .. } => {
                session.step_job(|job| match job.state().may_become(State::Trial) {
                    true => job.enter(State::Trial),
                    false => Ok(()),
                })?;
                boot::save(session.terminal, |state| {
                    state.committed(state.kernel, DEFAULT_TRIES)
                })?;
            }
            Plan::Nothing => {}
            Plan::Stuck { why } => {
                log::error!("{why}");
                session.update_job(|job| job.attempts.last_error = Some(why))?;
                return Ok(Ended::Stuck);
            }
        }
        return Ok(Ended::Reboot);
    }
    bail!("the plan asks for what it was told already")
}

/// Writes a new boot state.
fn rebuild(session: &mut Session, kernel: Option<dau_model::Slot>, trial: bool) -> Result<()> {
    let slot = kernel::ensure_bootable(session.terminal, session.layout(), kernel, None)?;
    let known = session.state.clone();
    boot::save(session.terminal, |fresh| match (known, trial) {
        (Some(known), _) => BootState {
            kernel: slot,
            ..known
        },
        (None, true) => fresh.committed(slot, DEFAULT_TRIES),
        (None, false) => fresh.steady(slot),
    })?;
    Ok(())
}

/// Counts a failure. After too many, the next run gives the job up; if that fails too, there is
/// time.
fn failed(session: &mut Session, what: &str) -> Ended {
    log::error!("{what}");
    match session.count_failure(what) {
        Ok(Some(failures)) if failures <= MAX_FAILURES => Ended::Failed,
        Ok(_) => Ended::Stuck,
        Err(error) => {
            log::error!("the failure could not be counted: {}", chain(&error));
            Ended::Stuck
        }
    }
}

/// Returns the peak resident memory of this process (proc_pid_status(5)).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Formats an error and its causes, without those that it names already.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_named_once() {
        let error = std::io::Error::other("disk on fire");
        let error = anyhow::Error::new(error)
            .context("cannot read: disk on fire")
            .context("cannot verify");
        assert_eq!(chain(&error), "cannot verify: cannot read: disk on fire");
    }
}
