//! The terminal's reports on itself and its jobs.

use serde::{Deserialize, Deserializer, Serialize};

use dau_model::Slot;

use crate::lenient;
use crate::text::{
    shortened, Bounded, MAX_LOG, MAX_NAME, MAX_PACKAGES, MAX_STAGES, MAX_STATES, MAX_TEXT,
};

/// `state` in the reply to CMD_STATUS_QUERY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusState {
    /// 1 (待下载): waits for its start.
    WaitingForDownload,
    /// 2 (下载中)
    Downloading,
    /// 3 (待安装): downloaded; verification, backup, arming.
    WaitingForInstallation,
    /// 4 (安装中): RecoveryOS, trial.
    Installing,
    /// 5 (安装完毕): the job has ended.
    Done,
}

impl StatusState {
    /// Returns the number on the wire.
    pub fn number(self) -> u8 {
        match self {
            StatusState::WaitingForDownload => 1,
            StatusState::Downloading => 2,
            StatusState::WaitingForInstallation => 3,
            StatusState::Installing => 4,
            StatusState::Done => 5,
        }
    }
}

/// `param` of the reply to CMD_STATUS_QUERY.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// The job.
    #[serde(deserialize_with = "lenient::integer")]
    pub job_id: i64,
    /// Per cent, 0 to 100, of the download while it runs and of the whole job otherwise.
    pub progress: u8,
    /// [`StatusState::number`].
    pub state: u8,
}

/// `param` of REP_JOB_PROGRESS (an addition of this project), sent on the channel `data`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobProgress {
    /// The job.
    #[serde(deserialize_with = "lenient::integer")]
    pub job_id: i64,
    /// The job's state: the word of a [`dau_model::State`] of the terminal's own, or of a later
    /// agent's.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub state: String,
    /// Progress within this state, per cent, 0 to 100.
    pub progress: u8,
    /// Bytes downloaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Size of the download, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The token was refused: the station must send the order again with a new one.
    #[serde(default)]
    pub order_again: bool,
    /// Bytes that the job has spent so far, on all its connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_used: Option<u64>,
}

/// A stage of a job with its duration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// Name, such as `download`, `verify`, `write-rootfs`.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub name: String,
    /// Duration in seconds; 0 if the received one is invalid.
    #[serde(deserialize_with = "seconds")]
    pub seconds: f64,
    /// Bytes moved, if meaningful.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// `param` of REP_JOB_RESULT. The family has two spellings, `code`/`msg` and `result`/`info`: both
/// are written, and either is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "ReportWire", into = "ReportWire")]
pub struct JobReport {
    /// The job.
    pub job_id: i64,
    /// One of [`crate::code`].
    pub code: u16,
    /// Text for people, at most [`MAX_TEXT`] bytes.
    pub msg: String,
    /// Additions of this project's agent; `None` from others.
    pub details: Option<JobDetails>,
}

/// Additions of this project to REP_JOB_RESULT.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobDetails {
    /// The word of a [`dau_model::Outcome`], or of a later agent's.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub outcome: String,
    /// A [`dau_model::Word`], or another make's.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub word: String,
    /// OS version before the job.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub version_before: String,
    /// OS version after the job.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub version_after: String,
    /// Kernel release before the job.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub kernel_before: String,
    /// Kernel release after the job.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub kernel_after: String,
    /// Digest of the parameters before the job; empty if the job ended earlier.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub parameters_before: String,
    /// Digest of the parameters after the job.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub parameters_after: String,
    /// Version of RecoveryOS before the job; empty if it was not upgraded.
    #[serde(with = "Bounded::<MAX_NAME>", skip_serializing_if = "String::is_empty")]
    pub recovery_before: String,
    /// Version of RecoveryOS after the job.
    #[serde(with = "Bounded::<MAX_NAME>", skip_serializing_if = "String::is_empty")]
    pub recovery_after: String,
    /// The end of the log of an OS that failed its trial.
    #[serde(with = "Bounded::<MAX_LOG>", skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// SHA-256 of the manifest of the package.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub manifest_sha256: String,
    /// Stages with their durations, at most [`MAX_STAGES`].
    #[serde(deserialize_with = "stages")]
    pub stages: Vec<StageTime>,
    /// Words of the states that the job was in, each once, in the order in which it entered them
    /// first; at most [`MAX_STATES`]. A report of a state can be lost, the result is not.
    #[serde(deserialize_with = "states", skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<String>,
    /// Bytes that the job has spent, on all its connections, but for the result itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_used: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportWire {
    #[serde(deserialize_with = "lenient::integer")]
    job_id: i64,
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    code: Option<i64>,
    #[serde(default)]
    msg: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    result: Option<i64>,
    #[serde(default)]
    info: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    details: Option<JobDetails>,
}

fn stages<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<StageTime>, D::Error> {
    let mut stages = Vec::<StageTime>::deserialize(deserializer)?;
    stages.truncate(MAX_STAGES);
    Ok(stages)
}

fn packages<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    names(deserializer, MAX_PACKAGES)
}

fn states<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    names(deserializer, MAX_STATES)
}

/// At most so many names.
fn names<'de, D: Deserializer<'de>>(deserializer: D, most: usize) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    struct Name(#[serde(with = "Bounded::<MAX_NAME>")] String);
    let names = Vec::<Name>::deserialize(deserializer)?;
    Ok(names.into_iter().take(most).map(|name| name.0).collect())
}

/// Later arithmetic with durations must not overflow.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    Ok(Some(seconds)
        .filter(|seconds| (0.0..1e10).contains(seconds))
        .unwrap_or(0.0))
}

impl From<ReportWire> for JobReport {
    fn from(wire: ReportWire) -> Self {
        let code = wire
            .code
            .or(wire.result)
            .and_then(|code| u16::try_from(code).ok());
        JobReport {
            job_id: wire.job_id,
            code: code.unwrap_or(crate::code::FAILED),
            msg: shortened(&wire.msg.or(wire.info).unwrap_or_default(), MAX_TEXT).to_owned(),
            details: wire.details,
        }
    }
}

impl From<JobReport> for ReportWire {
    fn from(report: JobReport) -> Self {
        ReportWire {
            job_id: report.job_id,
            code: Some(i64::from(report.code)),
            msg: Some(report.msg.clone()),
            result: Some(i64::from(report.code)),
            info: Some(report.msg),
            details: report.details,
        }
    }
}

/// `param` of EVENT_LINKUP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkUp {
    /// The device.
    pub dev: Device,
    /// The running OS.
    pub os: Os,
    /// Additions of this project.
    pub dau: Upgradeable,
}

/// `dev` of EVENT_LINKUP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    /// Serial number.
    #[serde(rename = "devSN", with = "Bounded::<MAX_NAME>")]
    pub dev_sn: String,
    /// Such as `DTU`, `FTU`, `TTU`.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub dev_type: String,
    /// Name for people.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub dev_name: String,
    /// Manufacturer.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub mfg_info: String,
}

/// `os` of EVENT_LINKUP, which shows a station that an upgrade took effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Os {
    /// Name of the OS.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub distro: String,
    /// Version of the OS (`VERSION_ID`).
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub version: String,
    /// Kernel release (`uname -r`).
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub kernel: String,
    /// Version of the agent.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub soft_version: String,
}

/// `dau` of EVENT_LINKUP and EVENT_HEARTBEAT (an addition of this project).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Upgradeable {
    /// Version of the running OS, as in `os.version` of EVENT_LINKUP.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub version: String,
    /// Product, which packages must match.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub product: String,
    /// Rollback index; packages with a lower one are refused.
    pub rollback_index: u64,
    /// Free space on mnt, bytes.
    pub free_bytes: u64,
    /// The slot of the running kernel, if known.
    #[serde(with = "lenient::slot")]
    pub kernel_slot: Option<Slot>,
    /// Version of the RecoveryOS in charge, empty if unknown.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub recovery_version: String,
    /// The RecoveryOS slot in charge, if known.
    #[serde(with = "lenient::slot")]
    pub recovery_slot: Option<Slot>,
    /// SHA-256 of the manifests of the packages kept on mnt, at most [`MAX_PACKAGES`]: a delta from
    /// one of them can be used.
    #[serde(deserialize_with = "packages", skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// The current job, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobProgress>,
}

/// `param` of EVENT_HEARTBEAT.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    /// As in EVENT_LINKUP.
    pub dau: Upgradeable,
}

/// Longest [`LinkUpAnswer::spread`] that is read, seconds.
pub const MAX_SPREAD: u64 = 600;

/// `param` of the answer to EVENT_LINKUP (an addition of this project).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkUpAnswer {
    /// Seconds over which terminals spread their EVENT_LINKUPs after they have connected: each waits
    /// for a random part of it, so that a station of many terminals is not flooded when they all
    /// come back at once. At most [`MAX_SPREAD`] is read.
    #[serde(deserialize_with = "spread", skip_serializing_if = "is_zero")]
    pub spread: u64,
}

fn spread<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let seconds = lenient::integer(deserializer)?;
    Ok(u64::try_from(seconds).unwrap_or(0).min(MAX_SPREAD))
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(seconds: &u64) -> bool {
    *seconds == 0
}

/// `param` of EVENT_LINKDOWN.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkDown {
    /// `connection lost` (the last will), `reboot`, `stopped`.
    #[serde(with = "Bounded::<MAX_NAME>")]
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_spellings_of_a_result_are_read_and_written() {
        for text in [
            json!({"jobId": 5, "code": 200, "msg": "SUCCESS"}),
            json!({"jobId": "5", "result": 200, "info": "SUCCESS"}),
        ] {
            let report: JobReport = serde_json::from_value(text.clone()).unwrap();
            assert_eq!(
                (report.job_id, report.code, report.msg.as_str()),
                (5, 200, "SUCCESS"),
                "{text}"
            );
        }
        let report = JobReport {
            job_id: 5,
            code: 500,
            msg: "disk".into(),
            details: None,
        };
        let expected =
            json!({"jobId": 5, "code": 500, "msg": "disk", "result": 500, "info": "disk"});
        assert_eq!(serde_json::to_value(report).unwrap(), expected);
    }

    #[test]
    fn a_result_without_code_is_no_success() {
        let report: JobReport = serde_json::from_value(json!({"jobId": 5})).unwrap();
        assert_eq!(report.code, crate::code::FAILED);
    }

    #[test]
    fn a_flood_of_text_is_cut_when_it_is_read_and_when_it_is_sent() {
        let flood = "x".repeat(100_000);
        let link: LinkUp = serde_json::from_value(json!({
            "dev": {"devSN": flood, "devType": 7, "devName": null}, "os": {"version": flood},
            "dau": {"product": flood, "packages": vec![flood.clone(); 100],
                "job": {"jobId": 1, "state": flood, "progress": 1}}
        }))
        .unwrap();
        assert_eq!(link.dau.packages.len(), MAX_PACKAGES);
        assert_eq!(
            (link.dev.dev_sn.len(), link.dev.dev_type.as_str()),
            (MAX_NAME, "7")
        );
        assert!(serde_json::to_string(&link).unwrap().len() < 12 * MAX_NAME);
        let stages = vec![json!({"name": flood, "seconds": 1e300}); 100];
        let report: JobReport = serde_json::from_value(json!({
            "jobId": 5, "code": 500, "msg": flood,
            "details": {"word": flood, "log": flood, "stages": stages, "states": vec![&flood; 100]}
        }))
        .unwrap();
        let details = report.details.unwrap();
        assert_eq!((report.msg.len(), details.log.len()), (MAX_TEXT, MAX_LOG));
        assert_eq!(details.stages.len(), MAX_STAGES);
        assert_eq!(
            (details.states.len(), details.states[0].len()),
            (MAX_STATES, MAX_NAME)
        );
        assert_eq!(details.stages[0].seconds, 0.0);
        let long = LinkDown { reason: flood };
        assert!(serde_json::to_string(&long).unwrap().len() < 2 * MAX_NAME);
    }

    #[test]
    fn a_spread_is_bounded_and_none_is_said_in_no_word() {
        for (text, spread) in [
            (json!({}), 0),
            (json!({"spread": "16"}), 16),
            (json!({"spread": -5}), 0),
            (json!({"spread": i64::MAX}), MAX_SPREAD),
        ] {
            let answer: LinkUpAnswer = serde_json::from_value(text.clone()).unwrap();
            assert_eq!(answer.spread, spread, "{text}");
        }
        let none = serde_json::to_string(&LinkUpAnswer::default()).unwrap();
        assert_eq!(none, "{}");
    }

    #[test]
    fn a_link_up_of_another_make_is_read() {
        let link: LinkUp = serde_json::from_value(json!({
            "dev": {"devType": "TTU", "mfgInfo": "NARI", "devSN": "1"}, "cpu": {"cpus": 4},
            "os": {"kernel": "4.9"}
        }))
        .unwrap();
        assert_eq!(
            (link.dev.dev_type.as_str(), link.os.kernel.as_str()),
            ("TTU", "4.9")
        );
    }
}
