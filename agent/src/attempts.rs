//! Work that ends the agent again and again is counted on mnt before it begins, so that no job is
//! immortal.
//!
//! A power cut is no fault of the job, and looks the same but for the boot in which the work began.
//! So ends in one boot count by themselves, and ends in several boots only where a row of them
//! brings nothing.

use dau_handoff::WorkRecord;

/// Ends in a row in one boot after which a job is given up.
pub const MAX_ENDS: u32 = 3;
/// Boots in a row in which nothing came of it: far more than power cuts that happen to come
/// together.
pub const MAX_BOOTS: u32 = 20;

/// The kernel's name for this boot: random(4).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Names this boot; empty where the kernel does not.
pub fn boot_id() -> String {
    let text = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    text.trim().to_owned()
}

/// Returns what to note before work begins in `boot` with `bytes` of the package there; `None`
/// gives the job up.
///
/// `noted` is what the last begin noted, unless its work came to an end that the agent survived.
pub fn begin(noted: Option<&WorkRecord>, boot: &str, bytes: u64) -> Option<WorkRecord> {
    let first = WorkRecord {
        boot: boot.to_owned(),
        bytes,
        ends: 0,
        boots: 0,
    };
    let Some(noted) = noted.filter(|noted| bytes <= noted.bytes) else {
        return Some(first);
    };
    let next = match noted.boot == boot {
        true => WorkRecord {
            ends: noted.ends.saturating_add(1),
            boots: noted.boots,
            ..first
        },
        false => WorkRecord {
            boots: noted.boots.saturating_add(1),
            ..first
        },
    };
    Some(next).filter(|next| next.ends < MAX_ENDS && next.boots < MAX_BOOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many begins are allowed, of which none comes to an end; each is in a boot and
    /// with so many bytes.
    fn allowed(begins: &[(&str, u64)]) -> usize {
        let mut noted = None;
        for (count, (boot, bytes)) in begins.iter().enumerate() {
            match begin(noted.as_ref(), boot, *bytes) {
                Some(next) => noted = Some(next),
                None => return count,
            }
        }
        begins.len()
    }

    #[test]
    fn three_ends_in_one_boot_are_enough() {
        assert_eq!(allowed(&[("a", 7); 9]), 3);
        // Power cuts between them begin the row anew.
        assert_eq!(
            allowed(&[("a", 7), ("a", 7), ("b", 7), ("b", 7), ("c", 7)]),
            5
        );
    }

    #[test]
    fn a_terminal_that_loses_power_again_and_again_finishes_its_download() {
        let names: Vec<String> = (0..1000).map(|boot| boot.to_string()).collect();
        let begins = names
            .iter()
            .zip(0..)
            .map(|(name, bytes)| (name.as_str(), bytes));
        assert_eq!(allowed(&begins.collect::<Vec<_>>()), 1000);
        let stuck: Vec<_> = names.iter().map(|name| (name.as_str(), 7)).collect();
        assert_eq!(allowed(&stuck), MAX_BOOTS as usize);
    }

    #[test]
    fn the_kernel_names_the_boot() {
        assert_eq!(boot_id(), boot_id());
        assert!(!boot_id().is_empty());
    }
}
