//! The facts that decide the plan.

use dau_boot_state::BootState;
use dau_handoff::Job;
use dau_model::Reason;
use dau_system::cmdline::BootReason;

/// The facts known so far. Those that take long to find out are determined when the plan asks for
/// them: see [`Plan::Judge`](super::Plan::Judge).
#[derive(Debug, Clone)]
pub struct Facts {
    /// The valid boot state; `None`: neither copy is valid.
    pub state: Option<BootState>,
    /// U-Boot's reason for booting RecoveryOS.
    pub reason: Option<BootReason>,
    pub job: JobFound,
    /// Whether the candidate, and the parameter backup if needed, may be installed.
    pub candidate: Verdict,
    /// The same of installed.dau.
    pub installed: Verdict,
}

/// The state of the job file on mnt.
#[derive(Debug, Clone)]
pub enum JobFound {
    /// mnt cannot be mounted.
    NoMnt,
    /// There is no job file.
    None,
    /// The job file cannot be read or is invalid, so the job's progress is unknown.
    Lost,
    /// A job.
    Job(Box<Job>),
}

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not verified yet.
    Unknown,
    /// It may be installed.
    Accepted,
    /// It may not, and a retry would not help.
    Refused(Reason),
}

/// A package on mnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Package {
    /// `candidate.dau`
    Candidate,
    /// `installed.dau`
    Installed,
}
