//! What the terminal says of itself and its jobs.

use serde::{Deserialize, Serialize};

use crate::lenient;

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
    /// 5 (安装完毕): there is a result.
    Done,
}

impl StatusState {
    /// The number on the wire.
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

/// `param` of REP_JOB_PROGRESS (our addition), sent on the topic `data`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobProgress {
    /// The job.
    #[serde(deserialize_with = "lenient::integer")]
    pub job_id: i64,
    /// The job's state by name: `accepted`, `downloading`, `verifying`, `backing-up`, `armed`, `installing`, `trial`,
    /// `updating-recovery`, `rolling-back`, `finished`.
    pub state: String,
    /// Per cent, 0 to 100, of this state.
    pub progress: u8,
    /// Bytes there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Bytes in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The token was refused: the station shall send the order again with a new one.
    #[serde(default)]
    pub order_again: bool,
}

/// A stage of a job and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// Such as `download`, `verify`, `write-rootfs`.
    pub name: String,
    /// Seconds.
    pub seconds: f64,
    /// Bytes moved, where that says something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// `param` of REP_JOB_RESULT. The family knows two spellings, `code`/`msg` and `result`/`info`: both are written, and
/// either is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "ReportWire", into = "ReportWire")]
pub struct JobReport {
    /// The job.
    pub job_id: i64,
    /// One of [`crate::code`].
    pub code: u16,
    /// Text for people.
    pub msg: String,
    /// What only our agent says; `None` from others.
    pub details: Option<JobDetails>,
}

/// Our additions to REP_JOB_RESULT.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobDetails {
    /// `success`, `refused`, `failed`, `rolled-back`, `cancelled`.
    pub outcome: String,
    /// A word for machines, such as `signer-unknown`.
    pub word: String,
    /// OS version before the job.
    pub version_before: String,
    /// OS version after it.
    pub version_after: String,
    /// Kernel release before the job.
    pub kernel_before: String,
    /// Kernel release after it.
    pub kernel_after: String,
    /// Digest of the parameters before the job; empty if it did not come so far.
    pub parameters_before: String,
    /// Digest after it.
    pub parameters_after: String,
    /// Version of RecoveryOS before the job; empty where it did not come to its upgrade.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub recovery_before: String,
    /// Version of RecoveryOS after it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub recovery_after: String,
    /// The end of the log of an OS that did not prove itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// SHA-256 of the manifest of the package.
    pub manifest_sha256: String,
    /// Stages and how long they took.
    pub stages: Vec<StageTime>,
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

impl From<ReportWire> for JobReport {
    fn from(wire: ReportWire) -> Self {
        let code = wire
            .code
            .or(wire.result)
            .and_then(|code| u16::try_from(code).ok());
        JobReport {
            job_id: wire.job_id,
            code: code.unwrap_or(crate::code::FAILED),
            msg: wire.msg.or(wire.info).unwrap_or_default(),
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
    /// What runs.
    pub os: Os,
    /// Our additions.
    pub dau: Upgradeable,
}

/// `dev` of EVENT_LINKUP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    /// Serial number.
    #[serde(rename = "devSN")]
    pub dev_sn: String,
    /// Such as `DTU`, `FTU`, `TTU`.
    pub dev_type: String,
    /// Name for people.
    pub dev_name: String,
    /// Manufacturer.
    pub mfg_info: String,
}

/// `os` of EVENT_LINKUP: where a station sees that an upgrade took effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Os {
    /// Name of the OS.
    pub distro: String,
    /// Version of the OS (`VERSION_ID`).
    pub version: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Version of the agent.
    pub soft_version: String,
}

/// `dau` of EVENT_LINKUP and EVENT_HEARTBEAT (our addition).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Upgradeable {
    /// Which packages fit.
    pub product: String,
    /// Packages with a lower index are refused.
    pub rollback_index: u64,
    /// Free bytes on mnt.
    pub free_bytes: u64,
    /// `a` or `b`: the kernel slot that runs, empty if unknown.
    pub kernel_slot: String,
    /// Version of the RecoveryOS in charge, empty if unknown.
    pub recovery_version: String,
    /// `a` or `b`: the RecoveryOS slot in charge, empty if unknown.
    pub recovery_slot: String,
    /// The current job, if there is one.
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

/// `param` of EVENT_LINKDOWN.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkDown {
    /// `connection lost` (the last will), `reboot`, `stopped`.
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
    fn a_link_up_of_another_make_is_read() {
        let link: LinkUp = serde_json::from_value(json!({
            "dev": {"devType": "TTU", "mfgInfo": "NARI", "devSN": "1"}, "cpu": {"cpus": 4}, "os": {"kernel": "4.9"}
        }))
        .unwrap();
        assert_eq!(
            (link.dev.dev_type.as_str(), link.os.kernel.as_str()),
            ("TTU", "4.9")
        );
    }
}
