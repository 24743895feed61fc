//! MQTT topics and messages between terminal and station.
//!
//! The family is the State Grid IoT platform's (2020), as several independent implementations agree
//! on it. Fields of our own are additions only. docs/formats/messages.md describes all of it with
//! samples.
//!
//! - [`topic`]: the topics of a terminal
//! - [`envelope`]: what every message shares
//! - [`order`]: CMD_SYS_UPGRADE, CMD_STATUS_QUERY, CMD_JOB_CANCEL
//! - [`report`]: REP_JOB_RESULT, REP_JOB_PROGRESS, EVENT_LINKUP, EVENT_LINKDOWN, EVENT_HEARTBEAT
//! - [`url`]: URLs that a download can use
//! - [`text`]: bounds of texts that somebody else wrote, and how they are shown
//!
//! # What it guarantees
//!
//! - Reading is lenient where implementations differ (integers as text, times in several forms),
//!   writing is strict; what was written is read back the same.
//! - A message that cannot be read says why, and whom to answer ([`ParseError`]).
//! - No message of at most [`MAX_MESSAGE`] bytes panics; longer ones are refused unread.
//!
//! # Example
//!
//! The station orders an upgrade, and the terminal reads it:
//!
//! ```
//! use dau_model::Kind;
//! use dau_protocol::{code, message_type, Envelope, File, Topic, Upgrade, Channel};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let order = Upgrade {
//!     job_id: 7,
//!     policy: 0,
//!     version: "1.1.0".to_owned(),
//!     kind: Kind::Full,
//!     file: File {
//!         name: "dtu-1.1.0-full.dau".to_owned(),
//!         url: "https://station/packages/3".to_owned(),
//!         size: None,
//!         md5: None,
//!         token: Some("secret".to_owned()),
//!     },
//!     budget: Some(3_000_000),
//! };
//! let message =
//!     Envelope::request(1, "T-0001", 1_790_000_000, message_type::UPGRADE, order.to_param());
//! let topic = Topic::new("T-0001", Channel::Command);
//! assert_eq!(topic.to_string(), "/v1/T-0001/device/command");
//!
//! let read = Envelope::parse(&message.to_bytes())?;
//! assert_eq!(Upgrade::from_envelope(&read)?, order);
//! let reply =
//!     Envelope::reply(read.mid, "T-0001", 1_790_000_001, &read.message_type, code::OK, "");
//! assert_eq!(reply.code, Some(code::OK));
//! # Ok(())
//! # }
//! ```

// Everything here reads what somebody else sent: no input may end the program.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod envelope;
mod lenient;
pub mod order;
pub mod report;
pub mod text;
pub mod timestamp;
pub mod topic;
pub mod url;

pub use envelope::{Envelope, ParseError, MAX_REPLY_TEXT};
pub use lenient::whole;
pub use order::{
    kind_of_type, upgrade_type, Cancel, File, OrderError, StatusQuery, Upgrade, MAX_BUDGET,
    MAX_POLICY, MIN_BUDGET,
};
pub use report::{
    Heartbeat, JobProgress, JobReport, JobStatus, LinkDown, LinkUp, LinkUpAnswer, StatusState,
};
pub use text::{escaped, shortened};
pub use topic::{Channel, Topic};
pub use url::DownloadUrl;

/// Longest message that is read or written, in bytes; the broker's own limit should equal it.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// Longest MQTT packet, in bytes: the longest message, and header, topic and packet id around it.
pub const MAX_PACKET: usize = MAX_MESSAGE + 1024;

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
