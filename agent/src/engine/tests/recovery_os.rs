//! Replacing RecoveryOS, wherever power goes.

use dau_boot_state::BootState;
use dau_handoff::{RecoveryRecord, Written};
use dau_model::{Kind, Outcome, Reason, Slot, State, Word};
use dau_system::cmdline::BootReason;

use super::{brief, job, nothing};
use crate::engine::{kept, plan, Found};

#[test]
fn the_upgrade_of_recovery_os_goes_on_wherever_power_went() {
    let steady = BootState::factory();
    let asked = BootState {
        seq: steady.seq + 1,
        ..steady.checking()
    };
    let taken = BootState {
        seq: steady.seq + 2,
        ..steady.clone()
    };
    let committed = BootState {
        seq: steady.seq + 3,
        ..taken.in_charge(Slot::B)
    };
    let record = |change: fn(&mut RecoveryRecord)| {
        let mut record = RecoveryRecord::new(Slot::A, None);
        change(&mut record);
        Some(record)
    };
    let begun = record(|_| {});
    let written = record(|record| record.written = Written::Slot);
    let in_place = record(|record| record.written = Written::InCharge);
    let noted = |checks| {
        written.clone().map(|record| RecoveryRecord {
            check_seq: Some(steady.seq + 1),
            checks,
            ..record
        })
    };
    let stays = record(|record| record.kept = Some(Reason::new(Word::CheckNotRun, "")));
    let restored = stays.clone().map(|record| RecoveryRecord {
        restored: true,
        ..record
    });
    let (normal, refused) = (BootReason::Steady, BootReason::CheckRefused);
    let table = [
        (None, Some(&steady), normal, 1, "NoteRecovery"),
        (None, None, normal, 1, "keep: boot"),
        // The slot is half written, or written.
        (begun.clone(), Some(&steady), normal, 1, "run WriteRecovery"),
        (begun, None, normal, 1, "run WriteRecovery"),
        (written.clone(), Some(&steady), normal, 1, "AskForCheck"),
        (in_place, Some(&steady), normal, 1, "success: success"),
        // Noted in the job, but not asked for.
        (noted(1), Some(&steady), normal, 1, "AskForCheck"),
        // Asked for, and the bootloader has not looked.
        (noted(1), Some(&asked), normal, 1, "Reboot"),
        (noted(1), Some(&asked), normal, 3, "keep: check-not-run"),
        // It has, and RecoveryOS did not commit.
        (noted(1), Some(&taken), normal, 1, "AskForCheck"),
        (
            noted(2),
            Some(&taken),
            normal,
            2,
            "keep: recovery-not-proven",
        ),
        (noted(1), Some(&taken), refused, 1, "keep: recovery-refused"),
        // It did.
        (noted(1), Some(&committed), normal, 1, "success: success"),
        (noted(2), Some(&committed), normal, 3, "success: success"),
        (noted(1), None, normal, 1, "Reboot"),
        (noted(1), None, normal, 3, "keep: check-not-run"),
        // The old one stays.
        (
            stays.clone(),
            Some(&taken),
            normal,
            1,
            "run RestoreRecovery",
        ),
        (stays.clone(), None, normal, 1, "run RestoreRecovery"),
        // The new one took charge meanwhile: its slot is not to be written over.
        (stays, Some(&committed), normal, 1, "success: success"),
        (restored, Some(&taken), normal, 1, "success: recovery-kept"),
    ];
    for (record, boot, reason, reboots, expected) in table {
        let mut job = job(State::UpdatingRecovery);
        (job.recovery, job.reboots) = (record, reboots);
        let found = Found {
            boot,
            reason: Some(reason),
            ..nothing(&job)
        };
        assert_eq!(brief(&plan(found)), expected, "{job:?} {boot:?} {reason:?}");
    }
    let mut alone = job(State::UpdatingRecovery);
    alone.order.kind = Kind::Recovery;
    let result = kept(&alone, &Reason::new(Word::Boot, "no"));
    assert_eq!(
        (result.outcome, result.reason.word),
        (Outcome::Failed, Word::Boot)
    );
}
