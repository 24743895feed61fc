//! The description of an OS in `/etc/os-release`, in the format of os-release(5) with three keys of
//! this project.

use std::collections::HashMap;
use std::io;
use std::path::Path;

/// Path of an OS's description.
pub const OS_RELEASE: &str = "/etc/os-release";

/// The description of an OS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// `VERSION_ID`: the version, as in packages.
    pub version: String,
    /// `DAU_PRODUCT`: the product, which packages must match.
    pub product: String,
    /// `DAU_ROLLBACK_INDEX`: packages with a lower one are refused.
    pub rollback_index: u64,
    /// `DAU_BUILD_TIME`: seconds since 1970-01-01 UTC, the clock's floor.
    pub build_time: Option<u64>,
    /// `NAME`, for people.
    pub name: String,
}

impl Release {
    /// Reads an os-release file. A missing or malformed key is empty (zero, none).
    pub fn read(path: &Path) -> io::Result<Self> {
        std::fs::read_to_string(path).map(|text| Self::parse(&text))
    }

    /// Parses the text of an os-release file.
    pub fn parse(text: &str) -> Self {
        let values: HashMap<&str, &str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim(), unquote(value.trim())))
            .collect();
        let text = |key: &str| values.get(key).copied().unwrap_or_default().to_owned();
        let number = |key: &str| values.get(key).and_then(|value| value.parse().ok());
        Release {
            version: text("VERSION_ID"),
            product: text("DAU_PRODUCT"),
            rollback_index: number("DAU_ROLLBACK_INDEX").unwrap_or(0),
            build_time: number("DAU_BUILD_TIME"),
            name: text("NAME"),
        }
    }
}

fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            return inner;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_keys_are_read_among_the_standard_ones() {
        let release = Release::parse(
            "# comment\nNAME=\"DAU reference\"\nID=dau\nVERSION_ID=1.1.0\nDAU_PRODUCT='qemu-aarch64'\n\
             DAU_ROLLBACK_INDEX=7\nDAU_BUILD_TIME=1800000000\n",
        );
        assert_eq!(
            release,
            Release {
                version: "1.1.0".into(),
                product: "qemu-aarch64".into(),
                rollback_index: 7,
                build_time: Some(1_800_000_000),
                name: "DAU reference".into(),
            }
        );
    }

    #[test]
    fn what_is_missing_is_empty() {
        assert_eq!(
            Release::parse("DAU_ROLLBACK_INDEX=many\n"),
            Release::default()
        );
    }
}
