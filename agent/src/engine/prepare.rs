//! From the order to the flag: nothing has changed yet, and lost work is done again.

use dau_handoff::Job;
use dau_model::{Kind, State, Word};
use dau_protocol::MAX_POLICY;

use super::{Found, Part, Step, Work};
use crate::failure::Failure;

/// A clock that was set back meanwhile is no reason to end a job.
const DAY: u64 = 86_400;

pub(super) fn plan(job: &Job, found: Found<'_>) -> Step {
    let verified = job.manifest_sha256.is_some() && found.candidate;
    match job.state() {
        State::Accepted => accepted(job, found),
        State::Downloading => match found.part {
            Part::Whole | Part::Delta => Step::Enter(State::Verifying),
            Part::None | Part::Begun => Step::Run(Work::Download),
        },
        State::Verifying => match found.part {
            Part::Begun => Step::Enter(State::Downloading),
            Part::None if !found.candidate => Step::Enter(State::Downloading),
            Part::None if verified => match job.order.kind {
                Kind::Recovery => Step::Enter(State::UpdatingRecovery),
                Kind::Kernel | Kind::Rootfs | Kind::Full => Step::Enter(State::BackingUp),
            },
            Part::None | Part::Whole => Step::Run(Work::Verify),
            Part::Delta => Step::Run(Work::Rebuild),
        },
        _ if !verified => Step::Enter(State::Verifying),
        _ if job.parameters.is_some() => Step::Enter(State::Armed),
        _ => Step::Run(Work::Backup),
    }
}

fn accepted(job: &Job, found: Found<'_>) -> Step {
    let latest = found.now.saturating_add(MAX_POLICY).saturating_add(DAY);
    if job.order.start_at > latest {
        let text = "the order's policy is longer than a year: order again with a shorter one";
        return Step::Finish(Failure::failed(Word::Policy, text).result());
    }
    if found.waits {
        return Step::Rest;
    }
    let expires = job.order.expires_at;
    if expires.is_some_and(|expires| found.now > expires) {
        let text = "the order expired before the job could start";
        return Step::Finish(Failure::cancelled(Word::Expired, text).result());
    }
    Step::Enter(State::Downloading)
}
