//! Both copies of the boot state.

use anyhow::Result;
use dau_boot_state::{BootState, Operation};
use dau_model::{Kind, Slot};

use crate::seed;

pub fn seeds() -> Result<()> {
    let factory = BootState::factory();
    let pairs = [
        ("factory", factory.clone(), factory.clone()),
        (
            "armed",
            factory.clone(),
            newer(&factory.armed(Operation::Install(Kind::Full))),
        ),
        (
            "trial",
            factory.armed(Operation::Install(Kind::Full)),
            newer(&factory.committed(Slot::B, 3)),
        ),
        (
            "trial-ended",
            factory.clone(),
            newer(&factory.committed(Slot::B, 0)),
        ),
        (
            "rollback",
            factory.clone(),
            newer(&factory.armed(Operation::Rollback)),
        ),
        (
            "check",
            factory.checking(),
            newer(&factory.in_charge(Slot::B)),
        ),
        (
            "wrapped",
            with_seq(&factory, u32::MAX),
            with_seq(&factory, 0),
        ),
        (
            "opposite",
            with_seq(&factory, 1 << 31),
            with_seq(&factory, 0),
        ),
    ];
    for (name, a, b) in pairs {
        seed("boot_state", name, copies(3, &text(&a)?, &text(&b)?))?;
    }
    let plain = text(&factory)?;
    let change = |from: &str, to: &str| -> Vec<u8> {
        String::from_utf8_lossy(&plain)
            .replace(from, to)
            .into_bytes()
    };
    for (name, changed) in [
        (
            "attack-plus-before-the-sequence",
            change("dau_seq=1", "dau_seq=+1"),
        ),
        ("attack-capital-sequence", change("dau_seq=1", "dau_seq=FF")),
        (
            "attack-zero-before-the-tries",
            change("dau_tries=0", "dau_tries=00"),
        ),
        (
            "attack-value-twice",
            change("dau_check=0", "dau_check=0\0dau_kernel=c"),
        ),
        ("attack-no-value", change("dau_check=0", "dau_check=")),
        ("attack-no-end", vec![b'='; 4092]),
    ] {
        seed("boot_state", name, copies(3, &changed, &changed))?;
    }
    seed("boot_state", "damaged", copies(1, &plain, &plain))
}

fn newer(state: &BootState) -> BootState {
    with_seq(state, state.seq + 1)
}

fn with_seq(state: &BootState, seq: u32) -> BootState {
    BootState {
        seq,
        ..state.clone()
    }
}

/// Returns the text of a copy, up to its end mark.
fn text(state: &BootState) -> Result<Vec<u8>> {
    let copy = state.encode()?;
    let end = copy.iter().rposition(|byte| *byte != 0).unwrap_or(4);
    Ok(copy[4..end + 3].to_vec())
}

fn copies(flags: u8, a: &[u8], b: &[u8]) -> Vec<u8> {
    let split = (a.len() as u16).to_le_bytes();
    [&[flags][..], &split, a, b].concat()
}
