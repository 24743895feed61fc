//! The time of a package.

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use time::format_description::well_known::Rfc3339;
use time::OffsetDateTime;

use super::{refuse, Manifest, ManifestError, MAX_SYSTEM_TAR};

/// Seconds by which `created` may be ahead of the clock of a packager or a station.
pub const MAX_AHEAD: i64 = 24 * 60 * 60;
/// Latest time of a package, 2242-03-16: a tar member's time has eleven octal digits.
const MAX_CREATED: i64 = MAX_SYSTEM_TAR as i64;
impl Manifest {
    /// Returns `created` in seconds since 1970.
    ///
    /// # Errors
    /// It differs in any byte from the form of [`Manifest::created`].
    pub fn created_unix(&self) -> Result<i64, ManifestError> {
        let time =
            OffsetDateTime::parse(&self.created, &Rfc3339).map(OffsetDateTime::unix_timestamp);
        match time {
            Ok(time) if created_text(time).as_ref() == Some(&self.created) => Ok(time),
            _ => refuse(
                "created",
                format!(
                    "{:?} is not an RFC 3339 time in UTC like 2026-01-31T12:00:00Z, from 1970 to 2242",
                    self.created
                ),
            ),
        }
    }

    /// Refuses a package from more than [`MAX_AHEAD`] after `now` (seconds since 1970). For
    /// packager and station, whose clocks are set; terminals' clocks may be wrong, so they never
    /// call this.
    ///
    /// # Errors
    /// `created` is too late, or not a time.
    pub fn check_created_by(&self, now: i64) -> Result<(), ManifestError> {
        if self.created_unix()?.saturating_sub(MAX_AHEAD) <= now {
            return Ok(());
        }
        let now = created_text(now).unwrap_or_else(|| now.to_string());
        refuse(
            "created",
            format!(
                "{} is more than a day after this machine's time, {now}: \
                 set the clock, or make the package with its own time",
                self.created
            ),
        )
    }
}

/// Returns a time in the canonical form of a manifest; `None` for a time that no package can have.
pub(crate) fn created_text(time: i64) -> Option<String> {
    let time = Some(time).filter(|time| (0..=MAX_CREATED).contains(time))?;
    let time = OffsetDateTime::from_unix_timestamp(time).ok()?;
    time.format(&Rfc3339).ok()
}

/// Converts a time for OpenSSL by its digits: where time_t has 32 bits, it holds no time after 2038,
/// and OpenSSL's may have 64 where this program's has 32. OpenSSL picks the form that RFC 5280 demands
/// for the year.
pub(crate) fn asn1_time(time: i64) -> Result<Asn1Time, ErrorStack> {
    let time = OffsetDateTime::from_unix_timestamp(time).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let date = time.date();
    let (hour, minute, second) = time.to_hms();
    Asn1Time::from_str_x509(&format!(
        "{:04}{:02}{:02}{hour:02}{minute:02}{second:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
    ))
}
