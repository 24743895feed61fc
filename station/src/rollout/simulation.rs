//! Whole rollouts by the clock: what must hold whatever terminals do.

use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::admit::{itself, Limits, Line, Place, UnderWay, Wait};
use super::plan::{Plan, Take, Threshold, Unreachable, Wave};
use super::step::{next, Progress, Step, Tally};
use super::waves;
use super::windows::{Calendar, Day, Window, Windows};

/// Numbers that look random, the same for the same seed.
struct Draws(u64);

impl Draws {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// A terminal of the simulation.
struct Terminal {
    place: Place,
    wave: usize,
    /// Linked from then on.
    linked_at: i64,
}

struct World {
    plan: Plan,
    terminals: Vec<Terminal>,
    /// Of 1000, how many fail.
    failing: u64,
    longest: u64,
}

/// The end of a simulated rollout.
#[derive(Debug)]
struct Outcome {
    last: Step,
    at: i64,
    failed: u32,
    ended: u32,
    steps: u64,
}

/// Runs a rollout until it stops or ends; `check` sees who is under way after each start.
fn run(world: &World, draws: &mut Draws, mut check: impl FnMut(&[usize], usize)) -> Outcome {
    let calendar = Calendar::of(&world.plan.windows).unwrap();
    let mut tallies = vec![Tally::default(); world.plan.waves.len()];
    let mut waiting: Vec<BinaryHeap<(std::cmp::Reverse<i64>, std::cmp::Reverse<usize>)>> =
        Vec::new();
    waiting.resize_with(tallies.len(), BinaryHeap::new);
    for (index, terminal) in world.terminals.iter().enumerate() {
        tallies[terminal.wave - 1].waiting += 1;
        waiting[terminal.wave - 1].push((std::cmp::Reverse(0), std::cmp::Reverse(index)));
    }
    let mut progress = Progress {
        expires_at: world.plan.expire.into(),
        ..Progress::default()
    };
    let mut ends: BinaryHeap<(std::cmp::Reverse<i64>, usize)> = BinaryHeap::new();
    let mut active: Vec<usize> = Vec::new();
    let (mut now, mut steps) = (0_i64, 0_u64);
    loop {
        steps += 1;
        while let Some((end, index)) = ends.peek().copied().filter(|(end, _)| end.0 <= now) {
            ends.pop();
            active.retain(|one| *one != index);
            let tally = &mut tallies[world.terminals[index].wave - 1];
            tally.active -= 1;
            match draws.next(1000) < world.failing {
                true => tally.failed += 1,
                false => tally.success += 1,
            }
            progress.last_result = Some(end.0);
        }
        progress.waves = tallies.clone();
        let step = next(&world.plan, &progress, now);
        match &step {
            Step::Open => {
                progress.open += 1;
                progress.opened_at = now;
                progress.go = false;
                continue;
            }
            Step::Start(room) => {
                let wave = &world.plan.waves[progress.open - 1];
                let limits = Limits {
                    per_cell: wave.per_cell,
                    per_feeder: wave.per_feeder,
                    per_ring: wave.per_ring,
                };
                let mut under_way = UnderWay::default();
                active
                    .iter()
                    .for_each(|index| under_way.add(&world.terminals[*index].place));
                let mut room = *room;
                for wave in 0..progress.open {
                    while let Some((due, index)) =
                        waiting[wave].peek().map(|(due, index)| (due.0, index.0))
                    {
                        if due > now || room == 0 {
                            break;
                        }
                        waiting[wave].pop();
                        let terminal = &world.terminals[index];
                        let opening = calendar.at(None, now);
                        let wait = itself(opening, terminal.linked_at <= now, false)
                            .map_or_else(|| under_way.admit(&terminal.place, limits), Err);
                        if let Err(wait) = wait {
                            let until = match wait {
                                Wait::Unreachable => terminal.linked_at,
                                Wait::Feeder | Wait::Ring | Wait::Cell | Wait::Neighbour => {
                                    ends.peek().map_or(now + 1, |(end, _)| end.0)
                                }
                                _ => wait.until(now),
                            };
                            waiting[wave]
                                .push((std::cmp::Reverse(until), std::cmp::Reverse(index)));
                            continue;
                        }
                        room -= 1;
                        tallies[wave].waiting -= 1;
                        tallies[wave].active += 1;
                        active.push(index);
                        let takes = 1 + draws.next(world.longest) as i64;
                        ends.push((std::cmp::Reverse(now + takes), index));
                        check(&active, progress.open);
                    }
                }
            }
            Step::Wait(..) => {}
            _ => {
                let failed = tallies.iter().map(|tally| tally.failed).sum();
                let ended = tallies.iter().map(Tally::ended).sum();
                return Outcome {
                    last: step,
                    at: now,
                    failed,
                    ended,
                    steps,
                };
            }
        }
        // The next time at which something can happen.
        let due = waiting
            .iter()
            .take(progress.open)
            .filter_map(|heap| heap.peek().map(|(due, _)| due.0));
        let until = match &step {
            Step::Wait(_, Some(until)) => Some(*until),
            _ => None,
        };
        let later = due.chain(ends.peek().map(|(end, _)| end.0)).chain(until);
        now = later
            .filter(|time| *time > now)
            .min()
            .unwrap_or(i64::MAX)
            .min(progress.expires_at);
    }
}

/// Rings of some terminals each, in radio cells.
fn world(waves: Vec<Wave>, count: u32, ring: u32, draws: &mut Draws) -> World {
    let plan = Plan {
        waves,
        windows: Windows::default(),
        start: None,
        expire: 30 * 86_400,
        accept: 3600,
        unreachable: Unreachable::Later,
    };
    let mut taken = vec![0; plan.waves.len()];
    let terminals = (0..count)
        .map(|index| {
            let line = |prefix: &str, size: u32, is_ring: bool| Line {
                name: format!("{prefix}{}", index / size),
                rank: Some(index % size),
                ring: if is_ring { size } else { 0 },
            };
            let wave = waves::of(&plan.waves, &taken, count, None).unwrap();
            taken[wave - 1] += 1;
            Terminal {
                place: Place {
                    feeder: Some(line("F", ring * 2, false)),
                    ring: Some(line("R", ring, true)),
                    cell: Some(format!("C{}", draws.next(5))),
                },
                wave,
                linked_at: if draws.next(10) == 0 {
                    draws.next(50_000) as i64
                } else {
                    0
                },
            }
        })
        .collect();
    World {
        plan,
        terminals,
        failing: 0,
        longest: 3600,
    }
}

fn are_neighbours(one: &Place, other: &Place) -> bool {
    let on = |one: &Option<Line>, other: &Option<Line>| {
        let (Some(one), Some(other)) = (one, other) else {
            return false;
        };
        let apart = one.rank.unwrap().abs_diff(other.rank.unwrap());
        one.name == other.name && (apart == 1 || (one.ring > 2 && apart == one.ring - 1))
    };
    on(&one.feeder, &other.feeder) || on(&one.ring, &other.ring)
}

#[test]
fn no_two_neighbours_are_ever_down_in_ten_thousand_rollouts() {
    for seed in 0..10_000 {
        let mut draws = Draws(seed);
        let limit = |draws: &mut Draws| 1 + draws.next(4) as u32;
        let wave = |take, draws: &mut Draws| Wave {
            take,
            at_once: Some(1 + draws.next(12) as u32),
            per_cell: Some(1 + draws.next(6) as u32),
            per_feeder: limit(draws),
            per_ring: limit(draws),
            observe: draws.next(100) as u32,
            ..Wave::default()
        };
        let first = wave(Take::Count(1), &mut draws);
        let rest = wave(Take::Rest, &mut draws);
        let (count, ring) = (8 + draws.next(24) as u32, 2 + draws.next(7) as u32);
        let mut world = world(vec![first, rest], count, ring, &mut draws);
        world.failing = draws.next(300);
        let terminals = &world.terminals;
        let waves = &world.plan.waves;
        let outcome = run(&world, &mut draws, |active, open| {
            let (newest, others) = active.split_last().unwrap();
            let newest = &terminals[*newest].place;
            for other in others {
                let other = &terminals[*other].place;
                assert!(
                    !are_neighbours(newest, other),
                    "{seed}: {newest:?} and {other:?}"
                );
            }
            let wave = &waves[open - 1];
            assert!(active.len() as u32 <= wave.at_once.unwrap(), "{seed}");
            let same = |key: fn(&Place) -> String| {
                let all = active.iter().map(|one| key(&terminals[*one].place));
                all.filter(|name| *name == key(newest)).count() as u32
            };
            assert!(
                same(|place| place.cell.clone().unwrap()) <= wave.per_cell.unwrap(),
                "{seed}"
            );
            assert!(
                same(|place| place.ring.clone().unwrap().name) <= wave.per_ring,
                "{seed}"
            );
            assert!(
                same(|place| place.feeder.clone().unwrap().name) <= wave.per_feeder,
                "{seed}"
            );
        });
        assert_eq!(outcome.last, Step::Done, "{seed}: {outcome:?}");
        assert_eq!(outcome.ended, count, "{seed}");
    }
}

#[test]
fn a_hundred_thousand_terminals_of_which_two_in_a_hundred_fail_stop_before_three_have() {
    for seed in 0..5 {
        let mut draws = Draws(seed);
        let failure = Threshold {
            percent: Some(1.0),
            least: 200,
            ..Threshold::default()
        };
        let wave = |take| Wave {
            take,
            at_once: Some(5000),
            per_feeder: 3,
            per_ring: 2,
            failure: failure.clone(),
            ..Wave::default()
        };
        let waves = vec![wave(Take::Percent(1.0)), wave(Take::Rest)];
        let mut world = world(waves, 100_000, 10, &mut draws);
        world.failing = 20;
        let outcome = run(&world, &mut draws, |_, _| ());
        assert!(matches!(outcome.last, Step::Stop(_)), "{outcome:?}");
        // Those under way may fail as well.
        assert!(outcome.failed < 3000 - 5000 / 50, "{outcome:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_rollout_ends(
        seed: u64,
        count in 1_u32..60,
        ring in 1_u32..9,
        failing in 0_u64..1000,
        at_once in 1_u32..20,
        percent in 0.0_f64..100.0,
        success in 0.0_f64..100.0,
        wait: bool,
        margin in 0_u32..40_000,
    ) {
        let mut draws = Draws(seed);
        let wave = |take| Wave {
            take,
            at_once: Some(at_once),
            failure: Threshold { percent: Some(percent), least: 5, ..Threshold::default() },
            success,
            observe: 60,
            pause: 600,
            ..Wave::default()
        };
        let waves = vec![wave(Take::Count(1)), wave(Take::Percent(10.0)), wave(Take::Rest)];
        let mut world = world(waves, count, ring, &mut draws);
        world.failing = failing;
        world.plan.unreachable = if wait { Unreachable::Wait } else { Unreachable::Later };
        world.plan.windows.weekly = vec![Window {
            days: vec![Day::Mon, Day::Thu],
            from: "22:00".to_owned(),
            to: "05:00".to_owned(),
        }];
        world.plan.windows.margin = margin;
        let outcome = run(&world, &mut draws, |_, _| ());
        prop_assert!(outcome.at <= i64::from(world.plan.expire));
        let is_end = matches!(outcome.last, Step::Done | Step::Expired | Step::Stop(_) | Step::Pause(_));
        prop_assert!(is_end, "{:?}", outcome);
        // It does not turn in circles.
        prop_assert!(outcome.steps < 100_000, "{:?}", outcome);
    }
}
