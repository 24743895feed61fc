//! The boot state: two copies of arbitrary bytes.
//!
//! Input: a byte of flags (1: the first copy gets a correct checksum, 2: the second one), the
//! offset of the second copy in two bytes, then both copies.

use dau_boot_state::{decide, env, newest, Boot, BootState, COPY_SIZE, DEFAULT_TRIES};
use dau_model::Slot;
use dau_system::cmdline::BootReason;

use crate::memory;

/// The entries of a copy and their values.
const MEMORY: usize = 1 << 20;

pub fn check(data: &[u8]) {
    let Some(([flags, low, high], rest)) = data.split_first_chunk() else {
        return;
    };
    let split = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (a, b) = rest.split_at(split);
    let copies = [(a, flags & 1), (b, flags & 2)].map(|(bytes, whole)| match whole {
        0 => bytes.to_vec(),
        _ => with_checksum(bytes),
    });
    let [a, b] = copies.map(|copy| memory::within(MEMORY, || decoded(&copy)));
    let counts = newest(a.as_ref(), b.as_ref());
    assert_eq!(counts.is_none(), a.is_none() && b.is_none());
    if let (Some(a), Some(b)) = (&a, &b) {
        one_of_them_counts(a, b);
    }
    let state = match counts {
        Some(0) => a,
        Some(_) => b,
        None => None,
    };
    leads(state.as_ref());
    if let Some(state) = state {
        ends(state);
    }
}

/// Returns the text with a correct checksum in front.
fn with_checksum(text: &[u8]) -> Vec<u8> {
    let mut copy = vec![0; COPY_SIZE];
    let text = &text[..text.len().min(COPY_SIZE - 4)];
    copy[4..4 + text.len()].copy_from_slice(text);
    let checksum = crc32(&copy[4..]);
    copy[..4].copy_from_slice(&checksum.to_le_bytes());
    copy
}

/// Returns zlib's CRC-32, computed bit by bit, independently of the implementation under test.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// Decodes a copy; checks that boot.cmd accepts it too, and that it survives encoding and decoding.
fn decoded(copy: &[u8]) -> Option<BootState> {
    let state = BootState::decode(copy).ok();
    let entries = env::decode(copy).ok();
    let sane = entries.as_deref().is_some_and(u_boot_takes);
    assert_eq!(
        state.is_some(),
        sane,
        "U-Boot judges otherwise: {entries:?}"
    );
    if let Some(state) = &state {
        let again = state.encode().expect("a state fits into a copy");
        assert_eq!(again.len(), COPY_SIZE);
        assert_eq!(BootState::decode(&again).as_ref(), Ok(state));
        assert_eq!(with_checksum(&again[4..]), again);
    }
    state
}

/// Repeats `dau_sane` of boot.cmd, independently of [`BootState::decode`]: texts are compared with
/// texts, and an empty variable counts as unset.
fn u_boot_takes(entries: &[(&str, &str)]) -> bool {
    let value = |name: &str| {
        let found = entries.iter().rev().find(|(key, _)| *key == name);
        found.map(|(_, value)| *value).unwrap_or_default()
    };
    let known = |name: &str, words: &[&str]| words.contains(&value(name));
    let seq = value("dau_seq");
    let digits = seq
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    digits
        && (1..=8).contains(&seq.len())
        && (seq == "0" || !seq.starts_with('0'))
        && known("dau_upgrade", &["0", "1"])
        && known(
            "dau_kind",
            &["none", "kernel", "rootfs", "full", "rollback"],
        )
        && known("dau_kernel", &["a", "b"])
        && known("dau_recovery", &["a", "b"])
        && known("dau_trial", &["0", "1"])
        && known(
            "dau_tries",
            &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        )
        && known("dau_check", &["", "0", "1"])
}

/// Checks that the same state is valid whichever file holds which copy.
fn one_of_them_counts(a: &BootState, b: &BootState) {
    let opposite = a.seq.wrapping_sub(b.seq) == 1 << 31;
    if a.seq != b.seq && !opposite {
        let pick = |first: &BootState, second: &BootState| match newest(Some(first), Some(second)) {
            Some(0) => first.clone(),
            _ => second.clone(),
        };
        assert_eq!(pick(a, b), pick(b, a));
        assert_ne!(a.is_newer_than(b), b.is_newer_than(a));
    }
}

/// Checks [`decide`] against the design's boot table, written down independently, line by line.
fn leads(state: Option<&BootState>) {
    let recovery = |recovery, reason| Boot::RecoveryOs { recovery, reason };
    let expected = match state {
        None => recovery(Slot::A, BootReason::NoState),
        Some(state) if state.upgrade => recovery(state.recovery, BootReason::Upgrade),
        Some(state) if state.trial && state.tries == 0 => {
            recovery(state.recovery, BootReason::TrialEnded)
        }
        Some(state) if state.trial => Boot::NormalOs {
            kernel: state.kernel,
            reason: BootReason::Trial,
            write: Some(BootState {
                seq: state.seq.wrapping_add(1),
                tries: state.tries - 1,
                ..state.clone()
            }),
        },
        Some(state) if state.check => Boot::Check {
            recovery: state.recovery.other(),
            kernel: state.kernel,
            write: BootState {
                seq: state.seq.wrapping_add(1),
                check: false,
                ..state.clone()
            },
        },
        Some(state) => Boot::NormalOs {
            kernel: state.kernel,
            reason: BootReason::Steady,
            write: None,
        },
    };
    assert_eq!(decide(state), expected);
}

/// Checks that a trial ends and a check happens once: each next state is newer, and soon one stays.
fn ends(mut state: BootState) {
    for _ in 0..=9 + 2 {
        let next = match decide(Some(&state)) {
            Boot::NormalOs { write: None, .. } | Boot::RecoveryOs { .. } => return,
            Boot::NormalOs {
                write: Some(next), ..
            } => next,
            Boot::Check { write, .. } => write,
        };
        assert!(next.is_newer_than(&state));
        state = next;
    }
    panic!("{state:?} is tried for ever, with {DEFAULT_TRIES} tries in the beginning");
}
