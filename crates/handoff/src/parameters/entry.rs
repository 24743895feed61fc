//! A file, folder or link among the parameters, without its content.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// Permission bits with set-user-id, set-group-id and sticky.
pub(super) const MODE_BITS: u32 = 0o7777;

/// Attributes that the kernel manages itself.
const KERNELS_OWN: [&[u8]; 3] = [b"security.evm", b"security.ima", b"trusted.overlay."];

/// The kind of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file of `size` bytes.
    File { size: u64 },
    /// A folder.
    Folder,
    /// A symbolic link to `target`, as spelled.
    Link { target: PathBuf },
    /// Another name of the file at `first`, which comes before it.
    HardLink { first: PathBuf },
}

impl Kind {
    /// Returns the kind for people.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Kind::File { .. } | Kind::HardLink { .. } => "a file",
            Kind::Folder => "a folder",
            Kind::Link { .. } => "a link",
        }
    }

    /// Returns the kind of a file for people.
    pub(super) fn word_of(metadata: &Metadata) -> &'static str {
        let kind = metadata.file_type();
        match () {
            () if kind.is_file() => "a file",
            () if kind.is_dir() => "a folder",
            () if kind.is_symlink() => "a link",
            () => "a device, pipe or socket",
        }
    }
}

/// The role of an entry in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It belongs to the parameters.
    Parameter,
    /// A [`Role::Parameter`] that may have further names in the archive.
    Linked,
    /// A folder above a parameter: created if it is missing, else left unchanged.
    Parent,
}

/// Seconds and nanoseconds since 1970-01-01 UTC; the nanoseconds count up from the seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Time {
    pub seconds: i64,
    pub nanos: u32,
}

impl fmt::Display for Time {
    /// Formats decimal seconds as in pax: `-1.5` is one and a half seconds before 1970.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds < 0 && self.nanos > 0 {
            let seconds = self.seconds.saturating_add(1).unsigned_abs();
            let nanos = 1_000_000_000_u32.saturating_sub(self.nanos);
            write!(formatter, "-{seconds}.{nanos:09}")
        } else {
            write!(formatter, "{}.{:09}", self.seconds, self.nanos)
        }
    }
}

impl Time {
    /// Parses the form of [`fmt::Display`]; digits beyond nanoseconds are dropped.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty() || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit())
        {
            return None;
        }
        let seconds: i64 = whole.parse().ok()?;
        let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        Some(match (negative, nanos) {
            (false, _) => Time { seconds, nanos },
            (true, 0) => Time {
                seconds: seconds.saturating_neg(),
                nanos,
            },
            (true, _) => Time {
                seconds: seconds.saturating_neg().saturating_sub(1),
                nanos: 1_000_000_000_u32.saturating_sub(nanos),
            },
        })
    }
}

/// Name and value of an extended attribute.
pub(super) type Attribute = (Vec<u8>, Vec<u8>);

/// A file, folder or link among the parameters, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Absolute, on the terminal's root.
    pub path: PathBuf,
    pub kind: Kind,
    pub role: Role,
    /// Whether an OS must not run without it.
    pub required: bool,
    /// Within [`MODE_BITS`].
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub modified: Time,
    /// Sorted by name.
    pub attributes: Vec<Attribute>,
}

impl Entry {
    /// Describes the file at `location`; `None` for devices, pipes and sockets.
    pub(super) fn read(
        location: &Path,
        path: &Path,
        metadata: &Metadata,
    ) -> io::Result<Option<Self>> {
        let file_type = metadata.file_type();
        let kind = match () {
            () if file_type.is_file() => Kind::File {
                size: metadata.len(),
            },
            () if file_type.is_dir() => Kind::Folder,
            () if file_type.is_symlink() => Kind::Link {
                target: fs::read_link(location)?,
            },
            () => return Ok(None),
        };
        let role = match kind {
            Kind::File { .. } if metadata.nlink() > 1 => Role::Linked,
            _ => Role::Parameter,
        };
        Ok(Some(Entry {
            path: path.to_owned(),
            kind,
            role,
            required: false,
            mode: metadata.mode() & MODE_BITS,
            uid: metadata.uid().into(),
            gid: metadata.gid().into(),
            modified: Time {
                seconds: metadata.mtime(),
                // The kernel keeps it below 1,000,000,000.
                nanos: u32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
            },
            attributes: attributes(location)?,
        }))
    }
}

/// Returns the extended attributes of the file at `location` (of a link itself, not its target),
/// sorted by name.
pub(super) fn attributes(location: &Path) -> io::Result<Vec<Attribute>> {
    let names = match xattr::list(location) {
        Ok(names) => names,
        // A file system without extended attributes.
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => return Ok(vec![]),
        Err(error) => return Err(error),
    };
    let mut attributes = Vec::new();
    for name in names {
        if KERNELS_OWN
            .iter()
            .any(|own| name.as_bytes().starts_with(own))
        {
            continue;
        }
        if let Some(value) = xattr::get(location, &name)? {
            attributes.push((name.as_bytes().to_vec(), value));
        }
    }
    attributes.sort();
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_and_after_1970_keep_their_nanoseconds() {
        for (seconds, nanos, text) in [
            (0, 0, "0.000000000"),
            (1_700_000_000, 1, "1700000000.000000001"),
            (-1, 0, "-1.000000000"),
            (-1, 500_000_000, "-0.500000000"),
            (-2, 500_000_000, "-1.500000000"),
        ] {
            let time = Time { seconds, nanos };
            assert_eq!(time.to_string(), text);
            assert_eq!(Time::parse(text), Some(time), "{text}");
        }
    }

    #[test]
    fn times_as_other_programs_write_them() {
        let time = |seconds, nanos| Some(Time { seconds, nanos });
        for (text, expected) in [
            ("12", time(12, 0)),
            ("12.5", time(12, 500_000_000)),
            ("12.1234567899", time(12, 123_456_789)),
            ("", None),
            (".5", None),
            ("1e3", None),
            ("--1", None),
            ("99999999999999999999", None),
            ("1.é", None),
        ] {
            assert_eq!(Time::parse(text), expected, "{text}");
        }
    }
}
