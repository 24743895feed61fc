//! How far a job is.

worded! {
    /// How far a job is. The station queues and orders it; the agent moves it up to [`State::Armed`], RecoveryOS on
    /// to [`State::Trial`], the agent to the end. RecoveryOS ends it where it refuses, fails or rolls back.
    pub enum State {
        /// Waits at the station for the terminal's earlier job.
        Queued = "queued",
        /// The station has sent the order, or is about to.
        Ordered = "ordered",
        /// The terminal has taken the order; the job waits for its start.
        Accepted = "accepted",
        /// The package is being fetched.
        Downloading = "downloading",
        /// The package is being verified.
        Verifying = "verifying",
        /// The parameters are being backed up and read back.
        BackingUp = "backing-up",
        /// Everything is ready; the upgrade flag is set, or about to be.
        Armed = "armed",
        /// RecoveryOS is at work.
        Installing = "installing",
        /// Committed: the new OS is to prove itself.
        Trial = "trial",
        /// The agent replaces RecoveryOS: the OS, where the job brought one, is confirmed.
        UpdatingRecovery = "updating-recovery",
        /// RecoveryOS is to put back, or puts back, what was installed before.
        RollingBack = "rolling-back",
        /// The job has its result.
        Finished = "finished",
    }
}

impl State {
    /// The states that may follow this one. Power may go at any time, so work that was lost is done again.
    const fn next(self) -> &'static [State] {
        use State::*;
        match self {
            Queued => &[Ordered, Finished],
            Ordered => &[Queued, Accepted, Finished],
            // What is on trial is taken back, whatever the job says: hence a rollback from everywhere.
            Accepted => &[Downloading, RollingBack, Finished],
            Downloading => &[Verifying, RollingBack, Finished],
            Verifying => &[
                Downloading,
                BackingUp,
                UpdatingRecovery,
                RollingBack,
                Finished,
            ],
            BackingUp => &[Downloading, Verifying, Armed, RollingBack, Finished],
            Armed => &[Installing, Trial, RollingBack, Finished],
            Installing => &[Trial, RollingBack, Finished],
            Trial => &[Installing, UpdatingRecovery, RollingBack, Finished],
            UpdatingRecovery => &[RollingBack, Finished],
            // Where the old OS cannot be put back, the new one is kept or installed once more.
            RollingBack => &[Installing, Trial, Finished],
            Finished => &[],
        }
    }

    /// Whether a job in this state may take `next`. Every state but the last may be entered again.
    pub fn may_become(self, next: State) -> bool {
        self.next().contains(&next) || self == next && self != State::Finished
    }

    /// Whether a terminal may report it; the others are the station's own.
    pub const fn is_reportable(self) -> bool {
        !matches!(self, State::Queued | State::Ordered)
    }

    /// Whether the agent is still preparing: nothing has changed yet, and the job can be cancelled.
    pub const fn is_preparing(self) -> bool {
        matches!(
            self,
            State::Accepted | State::Downloading | State::Verifying | State::BackingUp
        )
    }
}

#[cfg(test)]
mod tests {
    use super::State::{self, *};

    #[test]
    fn a_job_goes_only_where_the_table_leads() {
        // Each way that a job may go from its order to its end.
        let ways: [&[State]; 7] = [
            &[Queued, Ordered, Queued, Ordered, Accepted, Finished],
            &[Ordered, Accepted, Downloading, Verifying, BackingUp, Armed],
            &[Armed, Installing, Installing, Trial, Finished],
            &[Trial, UpdatingRecovery, Finished],
            // A package of RecoveryOS alone needs no backup.
            &[Verifying, UpdatingRecovery],
            // A damaged package is fetched once more.
            &[Verifying, Downloading, Verifying],
            // RecoveryOS was reached and could not say so; the way back, and where it cannot be gone.
            &[Armed, Trial, RollingBack, Trial, RollingBack, Installing],
        ];
        for way in ways {
            for pair in way.windows(2) {
                assert!(pair[0].may_become(pair[1]), "{} to {}", pair[0], pair[1]);
            }
        }
        let never = [
            (Accepted, Queued),
            (Accepted, Armed),
            (Downloading, BackingUp),
            (Verifying, Armed),
            (Armed, Downloading),
            (Armed, UpdatingRecovery),
            (Installing, Armed),
            (Installing, UpdatingRecovery),
            (UpdatingRecovery, Trial),
            (RollingBack, Armed),
            (RollingBack, UpdatingRecovery),
        ];
        for (from, to) in never {
            assert!(!from.may_become(to), "{from} to {to}");
        }
        for state in State::ALL {
            assert!(!Finished.may_become(*state), "finished to {state}");
            assert!(*state == Finished || state.may_become(Finished), "{state}");
            let taken_back = state.may_become(RollingBack);
            assert_eq!(taken_back, state.is_reportable() && *state != Finished);
        }
    }

    #[test]
    fn a_job_is_called_off_only_before_the_flag_is_set() {
        let preparing = State::ALL.iter().filter(|state| state.is_preparing());
        let preparing: Vec<_> = preparing.map(|state| state.word()).collect();
        assert_eq!(
            preparing,
            ["accepted", "downloading", "verifying", "backing-up"]
        );
    }
}
