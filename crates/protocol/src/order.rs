//! Commands of the station.

use serde::{Deserialize, Serialize};

use dau_model::{Kind, Reason, Word};

use crate::{lenient, Envelope};

/// Longest version in an order, bytes: no package has a longer one, and messages repeat it.
const MAX_VERSION: usize = 64;

/// Longest wait before a start (`policy`), seconds: a year of 365 days.
pub const MAX_POLICY: u64 = 365 * 86_400;

/// Smallest `dau.budget`, bytes: with less, not even a download can be begun and its result told.
pub const MIN_BUDGET: u64 = 128 << 10;

/// Largest `dau.budget`, bytes: a TiB, far beyond any package.
pub const MAX_BUDGET: u64 = 1 << 40;

/// Returns the family's `upgradeType`, the number on the wire. 16 is an addition of this project,
/// as the family may go on from 4.
pub fn upgrade_type(kind: Kind) -> u8 {
    match kind {
        Kind::Rootfs => 1,
        Kind::Kernel => 2,
        Kind::Full => 3,
        Kind::Recovery => 16,
    }
}

/// Returns the kind for an `upgradeType`; 0 (patch) is not supported.
pub fn kind_of_type(number: i64) -> Option<Kind> {
    let mut kinds = Kind::ALL.iter().copied();
    kinds.find(|kind| i64::from(upgrade_type(*kind)) == number)
}

/// `file` of an upgrade order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// File name, for people.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: String,
    /// The download URL.
    #[serde(default)]
    pub url: String,
    /// Size. Implementations disagree on the unit (bytes, KBytes), so it is only a hint; this
    /// station writes bytes.
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    pub size: Option<i64>,
    /// MD5 of the file, 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// Bearer token for the download (an addition of this project).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// `dau` of an upgrade order, an addition of this project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Additions {
    #[serde(
        default,
        deserialize_with = "lenient::optional_integer",
        skip_serializing_if = "Option::is_none"
    )]
    budget: Option<i64>,
}

/// `param` of CMD_SYS_UPGRADE on the wire.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dau: Option<Additions>,
}

/// An upgrade order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The job's id, given by the station.
    pub job_id: i64,
    /// Seconds to wait after receipt before the start, at most [`MAX_POLICY`].
    pub policy: u64,
    /// Version after the upgrade.
    pub version: String,
    /// The parts to upgrade.
    pub kind: Kind,
    /// The package.
    pub file: File,
    /// Bytes that the terminal may spend on the job, [`MIN_BUDGET`] to [`MAX_BUDGET`]; `None`: no
    /// limit (an addition of this project).
    pub budget: Option<u64>,
}

/// A reason why an order cannot be accepted. `job_id` is known if a result can be given for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", reason.message)]
pub struct OrderError {
    /// The fault and the correct form: [`Word::Policy`], or [`Word::Order`] for anything else.
    pub reason: Reason,
    /// The job, if its id could be read.
    pub job_id: Option<i64>,
}

impl Upgrade {
    /// Returns the job's id in an order, even if the rest of the order is invalid.
    pub fn job_id(envelope: &Envelope) -> Option<i64> {
        envelope.param.get("jobId").and_then(lenient::integer_of)
    }

    /// Parses the `param` of a CMD_SYS_UPGRADE.
    pub fn from_envelope(envelope: &Envelope) -> Result<Self, OrderError> {
        let job_id = Self::job_id(envelope);
        let refuse_as = |word, text: String| OrderError {
            reason: Reason::new(word, text),
            job_id,
        };
        let refuse = |text| refuse_as(Word::Order, text);
        let wire: Wire = envelope
            .param()
            .map_err(|error| refuse(format!("the order is malformed: {error}")))?;
        let kind = kind_of_type(wire.upgrade_type).ok_or_else(|| {
            refuse(format!(
                "upgradeType {} is not offered: use 1 (root filesystem), 2 (kernel), 3 (both) or \
                 16 (RecoveryOS)",
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
        let policy = wire.policy.unwrap_or(0);
        let policy = u64::try_from(policy)
            .ok()
            .filter(|seconds| *seconds <= MAX_POLICY)
            .ok_or_else(|| {
                let text = format!(
                    "the order's policy of {policy} s is out of bounds: give the seconds to wait, \
                     0 to {MAX_POLICY} (a year)"
                );
                refuse_as(Word::Policy, text)
            })?;
        let budget = wire.dau.and_then(|dau| dau.budget).map(|budget| {
            let within = |bytes: &u64| (MIN_BUDGET..=MAX_BUDGET).contains(bytes);
            u64::try_from(budget).ok().filter(within).ok_or_else(|| {
                refuse(format!(
                    "dau.budget of {budget} is out of bounds: give the bytes that the job may \
                     spend, {MIN_BUDGET} to {MAX_BUDGET}, or leave it out"
                ))
            })
        });
        Ok(Upgrade {
            job_id: wire.job_id,
            policy,
            version: wire.version,
            kind,
            file: wire.file,
            budget: budget.transpose()?,
        })
    }

    /// Returns the `param` of a CMD_SYS_UPGRADE.
    pub fn to_param(&self) -> serde_json::Value {
        let wire = Wire {
            job_id: self.job_id,
            policy: i64::try_from(self.policy).ok(),
            version: self.version.clone(),
            upgrade_type: i64::from(upgrade_type(self.kind)),
            file: self.file.clone(),
            dau: self.budget.map(|budget| Additions {
                budget: i64::try_from(budget).ok(),
            }),
        };
        serde_json::to_value(wire).unwrap_or_default()
    }
}

/// `param` of CMD_STATUS_QUERY.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusQuery {
    /// The job to report on.
    #[serde(deserialize_with = "lenient::integer")]
    pub job_id: i64,
}

/// `param` of CMD_JOB_CANCEL (an addition of this project).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cancel {
    /// The job to cancel.
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
        assert_eq!((upgrade.policy, upgrade.kind), (1, Kind::Full));
        assert_eq!(order(upgrade.to_param()), Ok(upgrade));
    }

    #[test]
    fn every_type_is_read_as_it_is_written() {
        let numbers = Kind::ALL.iter().map(|kind| upgrade_type(*kind));
        assert_eq!(numbers.collect::<Vec<_>>(), [2, 1, 3, 16]);
        for kind in Kind::ALL {
            assert_eq!(kind_of_type(upgrade_type(*kind).into()), Some(*kind));
        }
        assert_eq!((kind_of_type(0), kind_of_type(-1)), (None, None));
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
    fn a_budget_is_read_in_every_form_and_refused_where_it_makes_no_sense() {
        let with = |dau: Value| {
            order(
                json!({"jobId": 5, "version": "1", "upgradeType": 1, "dau": dau,
                "file": {"url": "https://s/p"}}),
            )
        };
        for (dau, read) in [
            (json!(null), None),
            (json!({}), None),
            (json!({"budget": null, "later": 1}), None),
            (json!({"budget": 131_072}), Some(MIN_BUDGET)),
            (json!({"budget": "3000000"}), Some(3_000_000)),
            (json!({"budget": 3e6}), Some(3_000_000)),
            (json!({"budget": MAX_BUDGET}), Some(MAX_BUDGET)),
        ] {
            let upgrade = with(dau.clone()).unwrap();
            assert_eq!(upgrade.budget, read, "{dau}");
            assert_eq!(order(upgrade.to_param()), Ok(upgrade));
        }
        for budget in [
            json!(0),
            json!(-1),
            json!(MIN_BUDGET - 1),
            json!(MAX_BUDGET + 1),
            json!(u64::MAX),
            json!(700_000.5),
            json!("3 MB"),
            json!([]),
        ] {
            let error = with(json!({"budget": budget})).unwrap_err();
            assert_eq!(error.reason.word, Word::Order, "{budget}");
        }
        assert!(with(json!(3_000_000)).is_err());
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
                json!({"jobId": 5, "version": "1", "upgradeType": 1, "policy": MAX_POLICY + 1, "file": file}),
                Some(5),
                "policy",
            ),
            (
                json!({"jobId": 5, "version": "1", "upgradeType": 1, "policy": i64::MAX, "file": file}),
                Some(5),
                "policy",
            ),
            (
                json!({"jobId": 5, "version": "1", "upgradeType": 1, "policy": u64::MAX, "file": file}),
                Some(5),
                "integer",
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
            assert!(error.reason.message.contains(word), "{param}: {error}");
            let expected = match word {
                "policy" => Word::Policy,
                _ => Word::Order,
            };
            assert_eq!(error.reason.word, expected, "{param}");
        }
    }
}
