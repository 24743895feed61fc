//! The hand-off: job.json and history.json as agent and RecoveryOS of any age, or a failing medium, left them.

use dau_handoff::{History, Job, JobError, JobResult, Outcome};

use crate::file::InMemory;
use crate::memory;

pub fn check(data: &[u8]) {
    let file = InMemory::new(data);
    // Text and values: a few times the file.
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

/// What is written of a job is read as the same job.
fn read_again(job: Job) -> Job {
    let written = serde_json::to_vec_pretty(&job).expect("a job can be written");
    let file = InMemory::new(&written);
    let again = Job::load(&file.path())
        .expect("a job reads back")
        .expect("it is there");
    assert_eq!(without_times(again), without_times(job.clone()));
    job
}

/// Seconds are for people: their last digit may change in the text.
fn without_times(mut job: Job) -> Job {
    job.stages.iter_mut().for_each(|stage| stage.seconds = 0.0);
    job
}

/// The first result stays.
fn one_result(job: &Job) {
    let mut ended = job.clone();
    ended.finish(JobResult::new(Outcome::Failed, "first", "first"));
    let first = ended.result().cloned().expect("it has a result");
    assert_eq!(job.result().unwrap_or(&first), &first);
    ended.finish(JobResult::new(Outcome::Success, "success", "second"));
    assert_eq!(ended.result(), Some(&first));
}
