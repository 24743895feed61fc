//! What a plan is made from.

use dau_boot_state::BootState;
use dau_handoff::Job;
use dau_system::cmdline::BootReason;

/// What is known. What takes long to find out is looked at when the plan asks for it: see [`Plan::Judge`](super::Plan::Judge).
#[derive(Debug, Clone)]
pub struct Facts {
    /// The boot state that counts; `None`: neither copy is valid.
    pub state: Option<BootState>,
    /// What U-Boot said.
    pub reason: Option<BootReason>,
    /// The job.
    pub job: JobFound,
    /// Whether the candidate, and the parameter backup where it is needed, may be installed.
    pub candidate: Verdict,
    /// The same of installed.dau.
    pub installed: Verdict,
}

/// What was found where the job stands.
#[derive(Debug, Clone)]
pub enum JobFound {
    /// mnt cannot be mounted.
    NoMnt,
    /// There is no job file.
    None,
    /// There is a job file, and it cannot be read or holds no job: how far the job came is not known.
    Lost,
    /// A job.
    Job(Box<Job>),
}

/// What verification said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not looked at yet.
    Unknown,
    /// May be installed.
    Accepted,
    /// May not, and trying again would not help.
    Refused {
        /// For machines.
        word: String,
        /// For people.
        message: String,
    },
}

/// A package on mnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Package {
    /// `candidate.dau`
    Candidate,
    /// `installed.dau`
    Installed,
}
