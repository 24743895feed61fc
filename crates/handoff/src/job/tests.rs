use super::*;
use dau_model::{Kind, Outcome, Word};

fn job() -> Job {
    Job::new(1_569_582_513_983_943_815, Order::sample(Kind::Full))
}

#[test]
fn a_job_survives_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job.json");
    assert_eq!(Job::load(&path).unwrap(), None);
    let mut job = job();
    job.stage("download", 1.5, Some(7));
    job.roll_back(Reason::new(Word::HealthLink, "no link"))
        .unwrap();
    job.save(&path).unwrap();
    assert_eq!(Job::load(&path).unwrap(), Some(job));
}

#[test]
fn half_a_job_file_is_damaged_not_absent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job.json");
    job().save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(Job::load(&path), Err(JobError::Damaged { .. })));
}

#[test]
fn a_job_written_by_an_older_program_is_read() {
    let old =
        r#"{"id":1,"order":{"version":"2","kind":"kernel","url":"u"},"state":{"name":"armed"}}"#;
    let job: Job = serde_json::from_str(old).unwrap();
    assert_eq!(
        (job.state(), job.attempts),
        (State::Armed, Attempts::default())
    );
}

#[test]
fn the_first_result_stays_and_nothing_follows_it() {
    let mut job = job();
    job.acknowledge();
    assert!(!job.is_acknowledged());
    let first = Reason::new(Word::Storage, "first");
    job.finish(JobResult::new(Outcome::Failed, first.clone()));
    job.finish(JobResult::success("second"));
    let from = State::Finished;
    let to = State::Trial;
    assert_eq!(job.enter(to), Err(TransitionError { from, to }));
    assert!(job
        .roll_back(Reason::new(Word::TrialEnded, "late"))
        .is_err());
    assert_eq!(job.result().map(|result| &result.reason), Some(&first));
    job.acknowledge();
    assert!(job.is_acknowledged());
}

#[test]
fn a_refused_step_leaves_the_job_as_it_was() {
    let mut job = job();
    let (from, to) = (State::Accepted, State::Armed);
    assert_eq!(job.enter(to), Err(TransitionError { from, to }));
    assert_eq!(job.state(), from);
    // The data of these states cannot be left out.
    assert!(job.enter(State::RollingBack).is_err() && job.enter(State::Finished).is_err());
    job.enter(State::Downloading).unwrap();
    let why = Reason::new(Word::HealthPort, "port 2404");
    job.roll_back(why.clone()).unwrap();
    job.roll_back(Reason::new(Word::TrialEnded, "later"))
        .unwrap();
    assert_eq!(job.rollback_reason(), Some(&why));
    job.finish(JobResult::success(""));
    assert_eq!(job.rollback_reason(), None);
}

#[test]
fn a_state_with_what_does_not_belong_to_it_is_no_job() {
    let read = |state: &str| {
        let order = r#"{"version":"2","kind":"kernel","url":"u"}"#;
        serde_json::from_str::<Job>(&format!(r#"{{"id":1,"order":{order},"state":{state}}}"#))
    };
    let reason = r#"{"word":"health-port","message":"m"}"#;
    let result = r#"{"outcome":"failed","word":"system","message":"m"}"#;
    for whole in [
        r#"{"name":"armed"}"#.to_owned(),
        format!(r#"{{"name":"rolling-back","reason":{reason}}}"#),
        format!(r#"{{"name":"finished","result":{result},"acknowledged":true}}"#),
    ] {
        read(&whole).unwrap();
    }
    for other in [
        r#"{"name":"finished"}"#.to_owned(),
        r#"{"name":"rolling-back"}"#.to_owned(),
        r#"{"name":"queued"}"#.to_owned(),
        r#"{"name":"armed","acknowledged":true}"#.to_owned(),
        format!(r#"{{"name":"armed","result":{result}}}"#),
        format!(r#"{{"name":"trial","reason":{reason}}}"#),
    ] {
        assert!(read(&other).is_err(), "{other}");
    }
}
