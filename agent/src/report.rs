//! Messages about the terminal and its jobs.

use dau_handoff::{Job, JobResult};
use dau_model::{Slot, State};
use dau_protocol::report::{Device as WireDevice, JobDetails, Os, StageTime, Upgradeable};
use dau_protocol::{shortened, JobProgress, JobReport, JobStatus, LinkUp, StatusState};
use dau_system::release::Release;

use crate::boot::InCharge;
use crate::settings::Device;

/// Longest text beside a result code, in bytes: other stations keep no more.
const MAX_MSG: usize = 255;

/// The running system.
#[derive(Debug, Clone)]
pub struct Running {
    pub release: Release,
    /// `uname -r`
    pub kernel: String,
    /// Slot of the kernel that runs, if the bootloader said so.
    pub kernel_slot: Option<Slot>,
    /// The RecoveryOS in charge, as far as is known.
    pub recovery: Option<InCharge>,
}

impl Running {
    /// Tells whether the RecoveryOS in charge is known to take packages that were rebuilt of deltas.
    pub fn takes_rebuilt(&self) -> bool {
        let recovery = self.recovery.as_ref();
        recovery.is_some_and(|recovery| recovery.takes_rebuilt)
    }

    /// Returns the version of the RecoveryOS in charge, where it is known.
    pub fn recovery_version(&self) -> Option<String> {
        self.recovery.as_ref()?.version.clone()
    }
}

/// Returns `param` of REP_JOB_RESULT for a job that is over.
pub fn job_report(job: &Job, result: &JobResult) -> JobReport {
    let stages = job.stages.iter().map(|stage| StageTime {
        name: stage.name.clone(),
        seconds: stage.seconds,
        bytes: stage.bytes,
    });
    let parameters = job.parameters.as_ref();
    let recovery = job.recovery.clone();
    let known = JobDetails {
        recovery_before: recovery
            .as_ref()
            .and_then(|record| record.version_before.clone())
            .unwrap_or_default(),
        recovery_after: recovery
            .and_then(|record| record.version_after)
            .unwrap_or_default(),
        version_before: job.version_before.clone(),
        kernel_before: job.kernel_before.clone(),
        parameters_before: parameters.map_or(String::new(), |record| record.digest.clone()),
        manifest_sha256: job.manifest_sha256.clone().unwrap_or_default(),
        stages: stages.collect(),
        states: job.states.clone(),
        bytes_used: Some(job.bytes_used),
        ..JobDetails::default()
    };
    with_result(job.id, result, known)
}

/// Returns `param` of REP_JOB_RESULT for a job of which only the result is remembered.
pub fn remembered_report(id: i64, result: &JobResult) -> JobReport {
    with_result(id, result, JobDetails::default())
}

fn with_result(job_id: i64, result: &JobResult, known: JobDetails) -> JobReport {
    JobReport {
        job_id,
        code: result.outcome.code(),
        msg: shortened(&result.reason.message, MAX_MSG).to_owned(),
        details: Some(JobDetails {
            outcome: result.outcome.to_string(),
            word: result.reason.word.to_string(),
            version_after: result.version_after.clone().unwrap_or_default(),
            kernel_after: result.kernel_after.clone().unwrap_or_default(),
            parameters_after: result.parameters_after.clone().unwrap_or_default(),
            log: result.log.clone().unwrap_or_default(),
            ..known
        }),
    }
}

/// Bytes done and bytes in all of the current state.
pub type Bytes = Option<(u64, u64)>;

/// Returns how much of the bytes is done.
pub fn percent(bytes: Bytes) -> u8 {
    match bytes {
        Some((done, total)) if total > 0 => {
            let hundredfold = u128::from(done.min(total)).saturating_mul(100);
            let percent = hundredfold.checked_div(u128::from(total));
            percent
                .and_then(|percent| u8::try_from(percent).ok())
                .unwrap_or(100)
        }
        _ => 0,
    }
}

/// Returns `param` of REP_JOB_PROGRESS.
pub fn job_progress(job: &Job, bytes: Bytes, order_again: bool) -> JobProgress {
    let finished = job.result().is_some();
    JobProgress {
        job_id: job.id,
        state: job.state().to_string(),
        progress: if finished { 100 } else { percent(bytes) },
        bytes: bytes.map(|(done, _)| done),
        total: bytes.map(|(_, total)| total),
        order_again,
        bytes_used: Some(job.bytes_used),
    }
}

/// Returns `param` of the reply to CMD_STATUS_QUERY.
pub fn job_status(job_id: i64, state: Option<State>, bytes: Bytes) -> JobStatus {
    use StatusState::{Done, Downloading, Installing, WaitingForDownload, WaitingForInstallation};
    let (state, progress) = match state {
        Some(State::Accepted) => (WaitingForDownload, 0),
        Some(State::Downloading) => (Downloading, percent(bytes)),
        Some(State::Verifying) => (WaitingForInstallation, 60),
        Some(State::BackingUp) => (WaitingForInstallation, 70),
        Some(State::Armed) => (WaitingForInstallation, 75),
        Some(State::Installing | State::RollingBack) => (Installing, 80),
        Some(State::Trial) => (Installing, 90),
        Some(State::UpdatingRecovery) => (Installing, 95),
        // The station's own states are none of a terminal's.
        Some(State::Finished | State::Queued | State::Ordered) | None => (Done, 100),
    };
    JobStatus {
        job_id,
        progress,
        state: state.number(),
    }
}

/// Returns `param` of EVENT_LINKUP.
pub fn link_up(terminal: &str, device: &Device, running: &Running, dau: Upgradeable) -> LinkUp {
    let serial = match device.serial.is_empty() {
        true => terminal,
        false => &device.serial,
    };
    LinkUp {
        dev: WireDevice {
            dev_sn: serial.to_owned(),
            dev_type: device.device_type.clone(),
            dev_name: device.name.clone(),
            mfg_info: device.manufacturer.clone(),
        },
        os: Os {
            distro: running.release.name.clone(),
            version: running.release.version.clone(),
            kernel: running.kernel.clone(),
            soft_version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        dau,
    }
}

/// Returns `dau` of EVENT_LINKUP and EVENT_HEARTBEAT.
pub fn upgradeable(
    running: &Running,
    free_bytes: u64,
    packages: Vec<String>,
    job: Option<JobProgress>,
) -> Upgradeable {
    Upgradeable {
        version: running.release.version.clone(),
        product: running.release.product.clone(),
        rollback_index: running.release.rollback_index,
        free_bytes,
        kernel_slot: running.kernel_slot,
        recovery_version: running.recovery_version().unwrap_or_default(),
        recovery_slot: running.recovery.as_ref().map(|recovery| recovery.slot),
        // What no delta can be used with is no base.
        packages: match running.takes_rebuilt() {
            true => packages,
            false => Vec::new(),
        },
        job,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_cent_is_of_the_bytes() {
        for (bytes, expected) in [
            (None, 0),
            (Some((0, 0)), 0),
            (Some((1, 3)), 33),
            (Some((3, 3)), 100),
            (Some((9, 3)), 100),
            (Some((u64::MAX, u64::MAX)), 100),
        ] {
            assert_eq!(percent(bytes), expected, "{bytes:?}");
        }
    }
}
