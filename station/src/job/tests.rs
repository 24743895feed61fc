use dau_protocol::report::JobDetails;

use super::*;

fn at(state: State) -> Standing {
    Standing {
        state,
        cancel_requested: false,
        reported: false,
    }
}

fn over(reported: bool) -> Standing {
    Standing {
        reported,
        ..at(State::Finished)
    }
}

fn progress(state: &str, order_again: bool) -> JobProgress {
    JobProgress {
        job_id: 1,
        state: state.to_owned(),
        progress: 5,
        bytes: None,
        total: None,
        order_again,
        bytes_used: None,
    }
}

fn report(code: u16, outcome: Option<&str>) -> JobReport {
    JobReport {
        job_id: 1,
        code,
        msg: "text".to_owned(),
        details: outcome.map(|outcome| JobDetails {
            outcome: outcome.to_owned(),
            word: "word".to_owned(),
            ..JobDetails::default()
        }),
    }
}

/// Returns a step without its content.
fn name(step: &Step) -> String {
    match step {
        Step::Enter(state) => state.to_string(),
        Step::Finish(ending) => format!("finish {}", ending.outcome),
        Step::FinishSoon(ending) => format!("soon {}", ending.outcome),
        Step::OrderAgain(state) => format!("again {}", state.map_or("-", State::word)),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[test]
fn replies_to_the_order() {
    let cases = [
        (State::Ordered, 202, false, "accepted"),
        (State::Ordered, 200, false, "accepted"),
        (State::Downloading, 202, false, "stay"),
        (State::Ordered, 403, true, "wait"),
        (State::Ordered, 403, false, "soon refused"),
        (State::Ordered, 400, false, "soon refused"),
        (State::Ordered, 500, false, "soon refused"),
        (State::Ordered, 408, false, "soon expired"),
        (State::Installing, 408, false, "stay"),
        (State::Installing, 403, true, "stay"),
    ];
    for (state, code, busy, expected) in cases {
        let heard = Heard::OrderReply {
            code,
            msg: "no",
            busy,
        };
        assert_eq!(
            name(&decide(at(state), heard)),
            expected,
            "{state:?} {code} {busy}"
        );
    }
}

#[test]
fn progress_moves_the_job_and_never_ends_it() {
    let cases = [
        (
            at(State::Ordered),
            progress("downloading", false),
            "downloading",
        ),
        (at(State::Armed), progress("trial", false), "trial"),
        (
            at(State::Verifying),
            progress("downloading", false),
            "downloading",
        ),
        (at(State::Trial), progress("finished", false), "stay"),
        (at(State::Trial), progress("ordered", false), "stay"),
        (
            at(State::Trial),
            progress("of-a-later-agent", false),
            "stay",
        ),
        (at(State::Queued), progress("downloading", false), "stay"),
        (
            at(State::Downloading),
            progress("downloading", true),
            "again downloading",
        ),
        (over(false), progress("downloading", false), "cancel"),
        (over(false), progress("downloading", true), "cancel"),
        (over(false), progress("finished", false), "stay"),
        (over(true), progress("trial", false), "stay"),
    ];
    for (job, progress, expected) in cases {
        let step = decide(job, Heard::Progress(&progress));
        assert_eq!(name(&step), expected, "{job:?} {progress:?}");
    }
}

#[test]
fn the_first_result_stays() {
    let cases = [
        (at(State::Trial), report(200, None), "finish success"),
        (at(State::Queued), report(200, None), "finish success"),
        (
            at(State::Trial),
            report(500, Some("rolled-back")),
            "finish rolled-back",
        ),
        (at(State::Downloading), report(408, None), "finish expired"),
        (
            Standing {
                cancel_requested: true,
                ..at(State::Downloading)
            },
            report(408, None),
            "finish cancelled",
        ),
        (over(true), report(500, None), "late"),
        (over(true), report(200, None), "late"),
        (over(false), report(200, None), "late"),
    ];
    for (job, report, expected) in cases {
        let step = decide(job, Heard::Result(&report));
        assert_eq!(name(&step), expected, "{job:?} {report:?}");
    }
}

#[test]
fn a_terminal_that_forgot_its_job_ends_it_but_a_foreign_dialect_only_shifts_it() {
    let status = |state| JobStatus {
        job_id: 1,
        progress: 1,
        state,
    };
    let cases = [
        (State::Accepted, 404, None, "finish failed"),
        (State::Accepted, 400, None, "finish failed"),
        (State::Ordered, 404, None, "stay"),
        (State::Accepted, 500, None, "stay"),
        (State::Accepted, 200, Some(2), "downloading"),
        (State::BackingUp, 200, Some(3), "backing-up"),
        (State::Downloading, 200, Some(3), "verifying"),
        (State::Trial, 200, Some(4), "trial"),
        (State::Armed, 200, Some(4), "installing"),
        (State::Trial, 200, Some(5), "stay"),
        (State::Trial, 200, Some(77), "stay"),
    ];
    for (state, code, number, expected) in cases {
        let status = number.map(status);
        let heard = Heard::QueryReply {
            code,
            status: status.as_ref(),
        };
        assert_eq!(
            name(&decide(at(state), heard)),
            expected,
            "{state:?} {code} {number:?}"
        );
    }
}

#[test]
fn a_job_called_off_before_it_arrived_is_over_and_any_other_goes_on() {
    let cases = [
        (State::Ordered, 404, "finish cancelled"),
        (State::Ordered, 400, "finish cancelled"),
        (State::Ordered, 200, "stay"),
        (State::Armed, 403, "stay"),
        (State::Armed, 404, "stay"),
        (State::Armed, 400, "stay"),
    ];
    for (state, code, expected) in cases {
        let step = decide(at(state), Heard::CancelReply { code });
        assert_eq!(name(&step), expected, "{state:?} {code}");
    }
}
