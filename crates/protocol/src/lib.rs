//! MQTT topics and messages between terminal and station.
//!
//! The family is the State Grid IoT platform's (2020), as several independent implementations agree on it; the
//! differences between them are taken leniently when reading, and writing is strict. Fields of our own are additions
//! only. docs/formats/messages.md describes all of it with samples.
//!
//! - [`topic`]: the topics `/v1/{deviceId}/device/{word}`
//! - [`envelope`]: what every message shares
//! - [`order`]: CMD_SYS_UPGRADE, CMD_STATUS_QUERY, CMD_JOB_CANCEL
//! - [`report`]: REP_JOB_RESULT, REP_JOB_PROGRESS, EVENT_LINKUP, EVENT_LINKDOWN, EVENT_HEARTBEAT

pub mod envelope;
mod lenient;
pub mod order;
pub mod report;
pub mod timestamp;
pub mod topic;

pub use envelope::{shortened, Envelope, ParseError, MAX_REPLY_TEXT};
pub use order::{Cancel, File, OrderError, StatusQuery, Upgrade, UpgradeType};
pub use report::{Heartbeat, JobProgress, JobReport, JobStatus, LinkDown, LinkUp, StatusState};
pub use topic::{Topic, Word};

/// Longest message that is read or written, in bytes; the broker's own limit should equal it.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// Message types (`type`).
pub mod message_type {
    /// Station orders an upgrade.
    pub const UPGRADE: &str = "CMD_SYS_UPGRADE";
    /// Station asks for a job's progress.
    pub const STATUS_QUERY: &str = "CMD_STATUS_QUERY";
    /// Station calls a job off (our addition).
    pub const JOB_CANCEL: &str = "CMD_JOB_CANCEL";
    /// Terminal reports a job's one result; the station's reply with code 200 acknowledges it.
    pub const JOB_RESULT: &str = "REP_JOB_RESULT";
    /// Terminal reports progress unasked (our addition).
    pub const JOB_PROGRESS: &str = "REP_JOB_PROGRESS";
    /// Terminal is connected.
    pub const LINK_UP: &str = "EVENT_LINKUP";
    /// Terminal is gone (last will, or said before it reboots).
    pub const LINK_DOWN: &str = "EVENT_LINKDOWN";
    /// Terminal is alive.
    pub const HEARTBEAT: &str = "EVENT_HEARTBEAT";
}

/// Result codes of the family.
pub mod code {
    /// Done.
    pub const OK: u16 = 200;
    /// Accepted, not finished.
    pub const ACCEPTED: u16 = 202;
    /// The message makes no sense.
    pub const BAD_REQUEST: u16 = 400;
    /// Refused.
    pub const REFUSED: u16 = 403;
    /// No such job.
    pub const NOT_FOUND: u16 = 404;
    /// Too late, or called off.
    pub const TIMEOUT: u16 = 408;
    /// Failed.
    pub const FAILED: u16 = 500;
}
