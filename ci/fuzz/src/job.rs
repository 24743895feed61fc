//! The hand-off files job.json and history.json, as written by agent and RecoveryOS of any age, or
//! by a failing medium.

use dau_handoff::{History, Job, JobError, JobResult};
use dau_model::{Outcome, Reason, Word};

use crate::file::InMemory;
use crate::memory;

pub fn check(data: &[u8]) {
    let file = InMemory::new(data);
    // Text and values: a few times the size of the file.
    let limit = (1 << 20) + 32 * data.len();
    match memory::within(limit, || Job::load(&file.path())) {
        Ok(Some(job)) => one_result(&read_again(job)),
        Ok(None) => panic!("a file that is there is no missing one"),
        Err(error) => assert!(
            matches!(error, JobError::Damaged { .. }),
            "a damaged job is called unreadable: {error}"
        ),
    }
    memory::within(limit, || History::load(&file.path()));
}

/// Checks that a job survives writing and reading.
fn read_again(job: Job) -> Job {
    let written = serde_json::to_vec_pretty(&job).expect("a job can be written");
    let file = InMemory::new(&written);
    let again = Job::load(&file.path())
        .expect("a job reads back")
        .expect("it is there");
    assert_eq!(without_times(again), without_times(job.clone()));
    job
}

/// Removes the seconds, whose last digit may change in the text.
fn without_times(mut job: Job) -> Job {
    job.stages.iter_mut().for_each(|stage| stage.seconds = 0.0);
    job
}

/// Checks that the first result stays.
fn one_result(job: &Job) {
    let mut ended = job.clone();
    ended.finish(JobResult::new(
        Outcome::Failed,
        Reason::new(Word::Storage, "first"),
    ));
    let first = ended.result().cloned().expect("it has a result");
    assert_eq!(job.result().unwrap_or(&first), &first);
    ended.finish(JobResult::success("second"));
    assert_eq!(ended.result(), Some(&first));
}
