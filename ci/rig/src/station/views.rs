//! Resources of the station's REST interface.

use serde::Deserialize;
use serde_json::Value;

/// A job.
#[derive(Debug, Clone)]
pub struct JobView {
    /// The job's id.
    pub id: i64,
    /// State, such as `downloading`.
    pub state: String,
    /// Progress within this state, per cent.
    pub progress: u8,
    /// Package bytes sent to the terminal for this job.
    pub bytes_served: u64,
    /// Whether it downloads a delta.
    pub delta: bool,
    /// `success`, `refused`, ...; `None`: no result yet.
    pub outcome: Option<String>,
    /// The result's word for machines.
    pub word: String,
    /// The result's words for people.
    pub message: String,
    /// The result's other details.
    pub details: Value,
}

impl JobView {
    /// Parses the answer to `GET jobs/ID`.
    pub(super) fn new(id: i64, job: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let result = &job["result"];
        let progress = job["progress"].as_u64();
        JobView {
            id,
            state: text(&job["state"]),
            progress: progress.and_then(|part| part.try_into().ok()).unwrap_or(0),
            bytes_served: job["bytesServed"].as_u64().unwrap_or(0),
            delta: job["file"]["delta"].as_bool().unwrap_or(false),
            outcome: result["outcome"].as_str().map(str::to_owned),
            word: text(&result["word"]),
            message: text(&result["message"]),
            details: result["details"].clone(),
        }
    }
}

/// A terminal.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminalView {
    /// Version of the running OS.
    pub version: String,
    /// Release of the running kernel.
    pub kernel: String,
    /// Whether the terminal is linked.
    pub online: bool,
    /// The last EVENT_LINKUP's param.
    #[serde(default)]
    pub link_up: Value,
}
