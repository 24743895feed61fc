//! Commands of the station.

use serde::{Deserialize, Serialize};

use crate::{lenient, Envelope};

/// Longest version that is ordered, in bytes: no package has a longer one, and messages repeat it.
const MAX_VERSION: usize = 64;

/// `upgradeType` of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeType {
    /// 1: the root filesystem.
    Rootfs,
    /// 2: the kernel.
    Kernel,
    /// 3: both.
    Full,
    /// 16: RecoveryOS (our addition; the family may go on counting from 4).
    Recovery,
}

impl UpgradeType {
    /// The number on the wire.
    pub fn number(self) -> u8 {
        match self {
            UpgradeType::Rootfs => 1,
            UpgradeType::Kernel => 2,
            UpgradeType::Full => 3,
            UpgradeType::Recovery => 16,
        }
    }

    /// The type of a number; 0 (patch) is not offered.
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(UpgradeType::Rootfs),
            2 => Some(UpgradeType::Kernel),
            3 => Some(UpgradeType::Full),
            16 => Some(UpgradeType::Recovery),
            _ => None,
        }
    }
}

/// `file` of an upgrade order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// File name, for people.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: String,
    /// Where it is fetched.
    #[serde(default)]
    pub url: String,
    /// Size. Implementations disagree on the unit (bytes, KBytes): a hint only; our station writes bytes.
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    pub size: Option<i64>,
    /// MD5 of the file, 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// Bearer token for the download (our addition).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// `param` of CMD_SYS_UPGRADE as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(deserialize_with = "lenient::integer")]
    job_id: i64,
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    policy: Option<i64>,
    #[serde(deserialize_with = "lenient::text")]
    version: String,
    #[serde(deserialize_with = "lenient::integer")]
    upgrade_type: i64,
    file: File,
}

/// An upgrade order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The station's id of the job.
    pub job_id: i64,
    /// Seconds to wait from receipt before starting.
    pub policy: u64,
    /// Version after the upgrade.
    pub version: String,
    /// What is written.
    pub upgrade_type: UpgradeType,
    /// The package.
    pub file: File,
}

/// Why an upgrade order cannot be taken. `job_id` is known where a result can be given for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct OrderError {
    /// What is wrong and what would be right.
    pub reason: String,
    /// The job, if its id could be read.
    pub job_id: Option<i64>,
}

impl Upgrade {
    /// The id of the job that an order is about, even where the rest of the order makes no sense.
    pub fn job_id(envelope: &Envelope) -> Option<i64> {
        envelope.param.get("jobId").and_then(lenient::integer_of)
    }

    /// Reads the `param` of a CMD_SYS_UPGRADE.
    pub fn from_envelope(envelope: &Envelope) -> Result<Self, OrderError> {
        let job_id = Self::job_id(envelope);
        let refuse = |reason: String| OrderError { reason, job_id };
        let wire: Wire = envelope
            .param()
            .map_err(|error| refuse(format!("the order is malformed: {error}")))?;
        let upgrade_type = UpgradeType::from_number(wire.upgrade_type).ok_or_else(|| {
            refuse(format!(
                "upgradeType {} is not offered: use 1 (root filesystem), 2 (kernel), 3 (both) or 16 (RecoveryOS)",
                wire.upgrade_type
            ))
        })?;
        if wire.file.url.is_empty() {
            return Err(refuse(
                "the order names no file.url to fetch the package from".to_owned(),
            ));
        }
        if wire.version.is_empty() {
            return Err(refuse("the order names no version".to_owned()));
        }
        if wire.version.len() > MAX_VERSION {
            return Err(refuse(format!(
                "the order's version is longer than {MAX_VERSION} bytes: no package has such a one"
            )));
        }
        let policy = u64::try_from(wire.policy.unwrap_or(0)).map_err(|_| {
            refuse("the order's policy is negative: give the seconds to wait".to_owned())
        })?;
        Ok(Upgrade {
            job_id: wire.job_id,
            policy,
            version: wire.version,
            upgrade_type,
            file: wire.file,
        })
    }

    /// The `param` of a CMD_SYS_UPGRADE.
    pub fn to_param(&self) -> serde_json::Value {
        let wire = Wire {
            job_id: self.job_id,
            policy: i64::try_from(self.policy).ok(),
            version: self.version.clone(),
            upgrade_type: i64::from(self.upgrade_type.number()),
            file: self.file.clone(),
        };
        serde_json::to_value(wire).unwrap_or_default()
    }
}

/// `param` of CMD_STATUS_QUERY.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusQuery {
    /// The job asked for.
    #[serde(deserialize_with = "lenient::integer")]
    pub job_id: i64,
}

/// `param` of CMD_JOB_CANCEL (our addition).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cancel {
    /// The job to call off.
    #[serde(deserialize_with = "lenient::integer")]
    pub job_id: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};

    fn order(param: Value) -> Result<Upgrade, OrderError> {
        Upgrade::from_envelope(&Envelope::request(
            1,
            "t",
            0,
            crate::message_type::UPGRADE,
            param,
        ))
    }

    #[test]
    fn a_sample_of_the_family_is_taken() {
        let upgrade = order(json!({
            "jobId": 1_569_582_513_983_943_816_i64, "version": "V1.2", "policy": 1, "upgradeType": 3,
            "file": {"url": "http://10.0.0.1/x.tar", "size": 22, "name": "固件1", "md5": "76cd"}
        }))
        .unwrap();
        assert_eq!(upgrade.job_id, 1_569_582_513_983_943_816);
        assert_eq!(
            (upgrade.policy, upgrade.upgrade_type),
            (1, UpgradeType::Full)
        );
        assert_eq!(order(upgrade.to_param()), Ok(upgrade));
    }

    #[test]
    fn every_type_is_read_as_it_is_written() {
        for kind in [
            UpgradeType::Rootfs,
            UpgradeType::Kernel,
            UpgradeType::Full,
            UpgradeType::Recovery,
        ] {
            assert_eq!(UpgradeType::from_number(kind.number().into()), Some(kind));
        }
    }

    #[test]
    fn numbers_as_text_are_numbers() {
        let upgrade = order(json!({
            "jobId": "17", "version": 2, "upgradeType": "2", "file": {"url": "https://s/p", "size": "9"}
        }))
        .unwrap();
        assert_eq!(
            (upgrade.job_id, upgrade.version.as_str(), upgrade.file.size),
            (17, "2", Some(9))
        );
    }

    #[test]
    fn a_refusal_names_the_reason_and_the_job() {
        let file = json!({"url": "https://s/p"});
        let cases = [
            (
                json!({"jobId": 5, "version": "1", "upgradeType": 0, "file": file}),
                Some(5),
                "upgradeType 0",
            ),
            (
                json!({"jobId": 5, "version": "1", "upgradeType": 1, "file": {}}),
                Some(5),
                "file.url",
            ),
            (
                json!({"jobId": 5, "version": "", "upgradeType": 1, "file": file}),
                Some(5),
                "version",
            ),
            (
                json!({"jobId": 5, "version": "9".repeat(65), "upgradeType": 1, "file": file}),
                Some(5),
                "longer than 64",
            ),
            (
                json!({"jobId": 5, "version": "1", "upgradeType": 1}),
                Some(5),
                "file",
            ),
            (
                json!({"jobId": 5, "version": "1", "upgradeType": 1, "policy": -2, "file": file}),
                Some(5),
                "policy",
            ),
            (
                json!({"jobId": 1.5, "version": "1", "upgradeType": 1, "file": file}),
                None,
                "integer",
            ),
            (json!(null), None, "malformed"),
        ];
        for (param, job_id, word) in cases {
            let error = order(param.clone()).unwrap_err();
            assert_eq!(error.job_id, job_id, "{param}");
            assert!(error.reason.contains(word), "{param}: {error}");
        }
    }
}
