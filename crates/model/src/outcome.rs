//! The outcomes of jobs.

worded! {
    /// The outcome of a job.
    pub enum Outcome {
        /// The new OS runs and was confirmed.
        Success = "success",
        /// Not begun: order or package were not acceptable. The terminal is as it was.
        Refused = "refused",
        /// Begun and given up; the old OS runs.
        Failed = "failed",
        /// Installed, did not prove itself, and was taken back; the old OS runs.
        RolledBack = "rolled-back",
        /// Called off by the station before the flag was set.
        Cancelled = "cancelled",
        /// No terminal took the order in time.
        Expired = "expired",
    }
}

impl Outcome {
    /// The protocol's result code (domain family's table 4).
    pub const fn code(self) -> u16 {
        match self {
            Outcome::Success => 200,
            Outcome::Refused => 403,
            Outcome::Cancelled | Outcome::Expired => 408,
            Outcome::Failed | Outcome::RolledBack => 500,
        }
    }
}
