//! The files that agent and RecoveryOS leave each other on mnt; for the plan, with boot states and
//! reasons in front.

use anyhow::Result;
use dau_handoff::{Entry, History, Job, JobResult, Order};
use dau_model::{Kind, Outcome, Reason, Slot, State, Word};

use crate::seed;

fn job(kind: Kind, state: State) -> Job {
    let order = Order {
        version: "1.1.0".into(),
        kind,
        url: "https://station:8443/packages/4/x.dau".into(),
        token: Some("secret".into()),
        md5: Some("0".repeat(32)),
        size: Some(61_234_567),
        start_at: 1_800_000_000,
        expires_at: Some(1_800_000_600),
        mid: 815,
        budget: Some(3_000_000),
    };
    let mut job = Job::new(17, order);
    job.stage("download", 12.5, Some(61_234_567));
    job.attempts.kernel_before = Some(Slot::A);
    job.attempts.rootfs_touched = true;
    job.force(state);
    job
}

pub fn seeds() -> Result<()> {
    let reason = Reason::new(
        Word::HealthLink,
        "no connection to the station within 180 s",
    );
    let result = JobResult::new(Outcome::RolledBack, reason);
    let states = [
        ("accepted", Kind::Full, State::Accepted),
        ("armed", Kind::Kernel, State::Armed),
        ("installing", Kind::Full, State::Installing),
        ("trial", Kind::Rootfs, State::Trial),
        ("rolling-back", Kind::Full, State::RollingBack),
        ("updating-recovery", Kind::Recovery, State::UpdatingRecovery),
        ("finished", Kind::Full, State::Finished),
    ];
    for (number, (name, kind, state)) in states.into_iter().enumerate() {
        let bytes = serde_json::to_vec(&job(kind, state))?;
        seed("job", name, &bytes)?;
        for (word, first) in [
            ("armed", 0b0000_0001),
            ("trial", 0b0000_1010),
            ("lost", 0b1000_0000),
        ] {
            let verdicts = number as u8 & 3;
            let facts = [first, 3 + 75, 2, verdicts];
            seed(
                "plan",
                &format!("{name}-{word}"),
                [&facts[..], &bytes].concat(),
            )?;
        }
        seed("job", &format!("half-{name}"), &bytes[..bytes.len() / 2])?;
    }
    let mut history = History::default();
    history.add(Entry {
        id: 17,
        version: "1.1.0".into(),
        result,
    });
    seed("job", "history", serde_json::to_vec(&history)?)?;
    seed("plan", "no-job", [1, 3, 2, 3])?;
    seed("job", "zeros", [0; 512])?;
    seed("job", "attack-deep", "[".repeat(10_000))
}
