use super::*;
use crate::rollout::plan::{Take, Wave};

const NOW: i64 = 1_000_000;

fn plan(first: Wave) -> Plan {
    let first = Wave {
        take: Take::Count(10),
        ..first
    };
    Plan {
        waves: vec![first, Wave::default()],
        windows: Default::default(),
        start: None,
        expire: 3600,
        accept: 60,
        unreachable: Unreachable::Later,
    }
}

fn tally(waiting: u32, active: u32, success: u32, failed: u32) -> Tally {
    Tally {
        waiting,
        active,
        success,
        failed,
        ..Tally::default()
    }
}

fn step(wave: &Wave, first: &Tally, change: impl Fn(&mut Progress)) -> Step {
    let mut progress = Progress {
        waves: vec![first.clone(), tally(50, 0, 0, 0)],
        open: 1,
        opened_at: NOW - 100,
        last_result: Some(NOW - 50),
        go: false,
        expires_at: NOW + 1000,
    };
    change(&mut progress);
    next(&plan(wave.clone()), &progress, NOW)
}

#[test]
fn a_wave_runs_is_watched_and_lets_the_next_one_open() {
    let keep = |_: &mut Progress| ();
    let wave = Wave {
        at_once: Some(4),
        observe: 60,
        pause: 30,
        ..Wave::default()
    };
    let over = tally(0, 0, 10, 0);
    assert_eq!(step(&wave, &over, |p| p.open = 0), Step::Open);
    assert_eq!(step(&wave, &tally(6, 1, 3, 0), keep), Step::Start(3));
    assert_eq!(
        step(&wave, &tally(6, 4, 0, 0), keep),
        Step::Wait(Why::AtOnce, None)
    );
    assert_eq!(
        step(&wave, &tally(0, 4, 6, 0), keep),
        Step::Wait(Why::Results, None)
    );
    assert_eq!(
        step(&wave, &over, keep),
        Step::Wait(Why::Observe, Some(NOW + 10))
    );
    let watched = |p: &mut Progress| p.last_result = Some(NOW - 70);
    assert_eq!(
        step(&wave, &over, watched),
        Step::Wait(Why::Pause, Some(NOW + 20))
    );
    let paused = |p: &mut Progress| p.last_result = Some(NOW - 90);
    assert_eq!(step(&wave, &over, paused), Step::Open);
    let by_hand = Wave {
        by_hand: true,
        ..wave.clone()
    };
    assert_eq!(step(&by_hand, &over, paused), Step::Wait(Why::ByHand, None));
    let go = |p: &mut Progress| p.go = true;
    assert_eq!(step(&by_hand, &over, go), Step::Open);
    let last = |p: &mut Progress| {
        (p.open, p.waves[1]) = (2, tally(0, 0, 50, 0));
    };
    assert_eq!(step(&wave, &over, last), Step::Done);
    assert_eq!(step(&wave, &over, |p| p.expires_at = NOW), Step::Expired);
}

#[test]
fn failures_stop_it_by_share_by_number_and_by_word() {
    let failure = |percent, least, count, words: &[&str]| Wave {
        failure: Threshold {
            percent,
            least,
            count,
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        },
        ..Wave::default()
    };
    let stopped = |wave: &Wave, first: &Tally| match step(wave, first, |_| ()) {
        Step::Stop(why) => Some(why.word()),
        _ => None,
    };
    let share = failure(Some(10.0), 10, None, &[]);
    assert_eq!(
        stopped(&share, &tally(1, 0, 8, 1)),
        None,
        "too few have ended"
    );
    assert_eq!(stopped(&share, &tally(1, 0, 9, 1)), Some("failures"));
    assert_eq!(stopped(&share, &tally(1, 0, 10, 1)), None);
    let none = failure(Some(0.0), 0, None, &[]);
    assert_eq!(stopped(&none, &tally(1, 0, 10, 0)), None, "nothing failed");
    assert_eq!(stopped(&none, &tally(1, 0, 10, 1)), Some("failures"));
    let number = failure(None, 0, Some(2), &[]);
    assert_eq!(stopped(&number, &tally(1, 0, 0, 1)), None);
    assert_eq!(stopped(&number, &tally(1, 0, 0, 2)), Some("failures"));
    let word = failure(None, 0, None, &["rolled-back"]);
    let ended = |word: &str| Tally {
        words: [(word.to_owned(), 1)].into(),
        ..tally(1, 0, 5, 1)
    };
    assert_eq!(stopped(&word, &ended("download")), None);
    assert_eq!(stopped(&word, &ended("rolled-back")), Some("word"));
    let seen = Tally {
        seen_failed: 2,
        ..tally(1, 0, 0, 3)
    };
    assert_eq!(stopped(&number, &seen), None, "an operator has seen two");
}

#[test]
fn too_little_success_keeps_the_next_wave_from_opening() {
    let wave = Wave {
        success: 90.0,
        ..Wave::default()
    };
    let paused = Step::Pause(Why::Success {
        wave: 1,
        success: 8,
        ended: 10,
    });
    assert_eq!(step(&wave, &tally(0, 0, 8, 2), |_| ()), paused);
    assert_eq!(step(&wave, &tally(0, 0, 8, 2), |p| p.go = true), Step::Open);
    assert_eq!(step(&wave, &tally(0, 0, 9, 1), |_| ()), Step::Open);
}

#[test]
fn those_that_cannot_be_reached_hold_the_wave_only_where_the_plan_says_so_or_nobody_has_ended() {
    let away = |success| Tally {
        unreachable: 2,
        ..tally(0, 0, success, 0)
    };
    let wave = Wave::default();
    assert_eq!(step(&wave, &away(8), |_| ()), Step::Open);
    assert_eq!(
        step(&wave, &away(0), |_| ()),
        Step::Start(u32::MAX),
        "tried again"
    );
    let progress = Progress {
        waves: vec![away(8), Tally::default()],
        open: 1,
        expires_at: NOW + 1,
        ..Progress::default()
    };
    let plan = Plan {
        unreachable: Unreachable::Wait,
        ..plan(wave)
    };
    assert_eq!(next(&plan, &progress, NOW), Step::Start(u32::MAX));
}
