//! The order of a job.

use dau_model::Kind;
use serde::{Deserialize, Serialize};

/// An accepted order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Version after the upgrade.
    pub version: String,
    /// The kind of upgrade.
    pub kind: Kind,
    /// The package's address.
    pub url: String,
    /// Bearer token for the download.
    #[serde(default)]
    pub token: Option<String>,
    /// MD5 of the package file by the station, 32 hexadecimal digits.
    #[serde(default)]
    pub md5: Option<String>,
    /// Size of the package by the station; only a hint, as units differ between stations.
    #[serde(default)]
    pub size: Option<u64>,
    /// Earliest start, seconds since 1970-01-01 UTC.
    #[serde(default)]
    pub start_at: u64,
    /// Latest start, seconds since 1970-01-01 UTC.
    #[serde(default)]
    pub expires_at: Option<u64>,
    /// `mid` of the order's message.
    #[serde(default)]
    pub mid: i64,
    /// Bytes that the job may spend, on all its connections; `None`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
}

#[cfg(any(test, feature = "testing"))]
impl Order {
    /// Returns an order of version 1.1.0 to start at once, for tests.
    pub fn sample(kind: Kind) -> Self {
        Order {
            version: "1.1.0".to_owned(),
            kind,
            url: "https://station/packages/1".to_owned(),
            token: None,
            md5: None,
            size: None,
            start_at: 0,
            expires_at: None,
            mid: 1,
            budget: None,
        }
    }
}
