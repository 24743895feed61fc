//! Giving memory back on terminals that have little.

use std::ffi::c_void;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{madvise, MmapAdvise};

/// A mapping of a file: address and length.
type Range = (NonZeroUsize, usize);

/// Forgets which pages of code and constants were used so far; those that still are come back from the page cache one by
/// one.
///
/// A TLS handshake runs through megabytes of libcrypto that nothing needs afterwards, and Linux holds on to code that is
/// mapped longer than to anything else.
pub fn release_code() {
    let Ok(smaps) = File::open("/proc/self/smaps") else {
        return;
    };
    let lines = BufReader::new(smaps).lines().map_while(Result::ok);
    for (start, length) in unchanged(lines) {
        let Some(address) = NonNull::new(start.get() as *mut c_void) else {
            continue;
        };
        // SAFETY: every page of such a mapping is the file's, so each comes back as it was.
        #[allow(unsafe_code)] // madvise(2) takes an address, and knows nothing of what lies there.
        let advised = unsafe { madvise(address, length, MmapAdvise::MADV_DONTNEED) };
        if let Err(error) = advised {
            log::debug!("madvise: {error}");
        }
    }
}

/// The private mappings of files that cannot be written to and of which no page was ever changed. What the loader changed
/// before it took the right to write (RELRO) has pages of its own: "Anonymous" is not 0. Lines of /proc/self/smaps, see
/// proc(5).
fn unchanged(lines: impl Iterator<Item = String>) -> Vec<Range> {
    let mut found = Vec::new();
    let mut current = None;
    for line in lines {
        let mut fields = line.split_ascii_whitespace();
        match fields.next() {
            Some("Anonymous:") => {
                if fields.next() == Some("0") {
                    found.extend(current);
                }
                current = None;
            }
            Some(name) if name.ends_with(':') => {}
            Some(range) => current = read_only(range, fields),
            None => {}
        }
    }
    found
}

fn read_only<'a>(range: &str, mut fields: impl Iterator<Item = &'a str>) -> Option<Range> {
    let permissions = fields.next()?;
    let path = fields.nth(3)?;
    if !matches!(permissions, "r-xp" | "r--p") || !path.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((NonZeroUsize::new(start)?, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_in_its_file_is_released() {
        let cases = [
            (
                "1000-3000 r-xp 00001000 08:01 17  /usr/lib/libcrypto.so.3",
                0,
                true,
            ),
            (
                "1000-3000 r--p 00001000 08:01 17  /usr/lib/libcrypto.so.3",
                0,
                true,
            ),
            // Changed by the loader, or by a debugger.
            (
                "1000-3000 r--p 00001000 08:01 17  /usr/lib/libcrypto.so.3",
                8,
                false,
            ),
            (
                "1000-3000 r-xp 00001000 08:01 17  /usr/lib/libcrypto.so.3",
                4,
                false,
            ),
            (
                "1000-3000 rw-p 00001000 08:01 17  /usr/lib/libcrypto.so.3",
                0,
                false,
            ),
            (
                "1000-3000 rwxp 00001000 08:01 17  /usr/lib/odd.so",
                0,
                false,
            ),
            (
                "1000-3000 r--s 00001000 08:01 17  /usr/lib/odd.so",
                0,
                false,
            ),
            ("1000-3000 r-xp 00000000 00:00 0   [vdso]", 0, false),
            ("1000-3000 r--p 00000000 00:00 0", 0, false),
            ("nonsense", 0, false),
        ];
        for (line, anonymous, expected) in cases {
            let text = format!(
                "{line}\nSize:  8 kB\nRss:   4 kB\nAnonymous:   {anonymous} kB\nVmFlags: rd mr mw me\n"
            );
            let found: Vec<_> = unchanged(text.lines().map(str::to_owned))
                .iter()
                .map(|(start, length)| (start.get(), *length))
                .collect();
            let range = expected.then_some((0x1000, 0x2000));
            assert_eq!(found, Vec::from_iter(range), "{line} {anonymous}");
        }
    }

    #[test]
    fn the_program_runs_on() {
        release_code();
        assert!(openssl::sha::sha256(b"").starts_with(&[0xE3, 0xB0]));
    }
}
