//! Validates a manifest, whoever signed it.

use dau_model::Kind;

use super::{refuse, Manifest, ManifestError, Payload, PayloadType};
use super::{FORMAT, MAX_IMAGE, MAX_SYSTEM_TAR};
use crate::blocks::{padded, BLOCK, BLOCKING, END};

/// Longest product name or version, bytes: they become file names and message fields.
const MAX_NAME: usize = 64;

impl Manifest {
    /// Refuses an invalid manifest.
    pub fn validate(&self) -> Result<(), ManifestError> {
        if self.format != FORMAT {
            return refuse(
                "format",
                format!("{} is not supported, only {FORMAT}", self.format),
            );
        }
        check_name("product", &self.product)?;
        check_name("version", &self.version)?;
        if let Some(version) = &self.minimum_recovery {
            check_name("minimum_recovery", version)?;
        }
        self.created_unix()?;
        self.check_kind()?;
        for (index, payload) in self.payloads.iter().enumerate() {
            payload.validate(&format!("payloads[{index}]"))?;
        }
        check_hex("system.md5", &self.system.md5, 32)?;
        check_hex("system.sha256", &self.system.sha256, 64)?;
        if let Some(delta) = &self.delta {
            check_hex("delta.base", &delta.base, 64)?;
            check_hex("delta.target", &delta.target, 64)?;
        }
        if let Some(sbom) = &self.sbom_sha256 {
            check_hex("sbom_sha256", sbom, 64)?;
        }
        self.check_system_size()
    }

    fn check_kind(&self) -> Result<(), ManifestError> {
        use PayloadType::{Delta, Kernel, Recovery, RootfsImage, TargetHead};
        let types: Vec<_> = self.payloads.iter().map(|p| p.payload_type).collect();
        if self.delta.is_some() {
            return match (types.as_slice(), self.kind) {
                // A terminal does not keep the RecoveryOS that it runs as a package.
                (_, Kind::Recovery) => refuse("kind", "there are no deltas of a RecoveryOS alone"),
                ([TargetHead, Delta], _) => Ok(()),
                _ => refuse("payloads", "a delta has a target-head and a delta"),
            };
        }
        let kind =
            match types.as_slice() {
                [Kernel] => Kind::Kernel,
                [RootfsImage] => Kind::Rootfs,
                [Kernel, RootfsImage] => Kind::Full,
                [Kernel, RootfsImage, Recovery] => Kind::Full,
                [Recovery] => Kind::Recovery,
                _ => return refuse(
                    "payloads",
                    "neither a kernel, nor a rootfs, nor a recovery, nor a kernel, a rootfs and \
                     perhaps a recovery",
                ),
            };
        if kind != self.kind {
            return refuse(
                "kind",
                format!("says {}, but the payloads make it {kind}", self.kind),
            );
        }
        Ok(())
    }

    fn check_system_size(&self) -> Result<(), ManifestError> {
        let size = self.system.size;
        if size > MAX_SYSTEM_TAR {
            return refuse(
                "system.size",
                format!("{size} is above the limit of {MAX_SYSTEM_TAR} bytes"),
            );
        }
        let mut least = END;
        for payload in &self.payloads {
            // At most three payloads, each bounded by validate(), so no sum overflows.
            least = least
                .saturating_add(padded(payload.size))
                .saturating_add(BLOCK);
        }
        if size < least || size > least.next_multiple_of(BLOCKING) || size % BLOCK != 0 {
            return refuse(
                "system.size",
                format!("{size} does not fit the payloads, which take {least} bytes"),
            );
        }
        Ok(())
    }
}

impl Payload {
    fn validate(&self, at: &str) -> Result<(), ManifestError> {
        if self.name != self.payload_type.member() {
            return refuse(
                format!("{at}.name"),
                format!(
                    "{:?} where a {} is called {}",
                    self.name,
                    self.payload_type,
                    self.payload_type.member()
                ),
            );
        }
        check_hex(&format!("{at}.sha256"), &self.sha256, 64)?;
        check_hex(&format!("{at}.image_sha256"), &self.image_sha256, 64)?;
        if self.size == 0 || self.size > MAX_SYSTEM_TAR {
            return refuse(
                format!("{at}.size"),
                format!("{} is not in 1..={MAX_SYSTEM_TAR}", self.size),
            );
        }
        if self.image_size == 0 || self.image_size > MAX_IMAGE {
            return refuse(
                format!("{at}.image_size"),
                format!("{} is not in 1..={MAX_IMAGE}", self.image_size),
            );
        }
        let stored = (self.size, &self.sha256);
        if !self.payload_type.is_rootfs() && stored != (self.image_size, &self.image_sha256) {
            return refuse(
                at,
                format!(
                    "a {} is stored as it is, but its image differs in size or digest",
                    self.payload_type
                ),
            );
        }
        Ok(())
    }
}

fn check_hex(field: &str, value: &str, digits: usize) -> Result<(), ManifestError> {
    let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if value.len() != digits || !value.bytes().all(lower_hex) {
        return refuse(field, format!("not {digits} lower-case hex digits"));
    }
    Ok(())
}

/// Checks a product or version, which become file names, topics and environment variables: only
/// characters valid in all of these.
pub(crate) fn check_name(field: &str, value: &str) -> Result<(), ManifestError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~-".contains(&byte);
    if value.is_empty() || value.len() > MAX_NAME || !value.bytes().all(plain) {
        return refuse(
            field,
            format!("{value:?} is not 1 to {MAX_NAME} of letters, digits and . _ + ~ -"),
        );
    }
    if !value.starts_with(|letter: char| letter.is_ascii_alphanumeric()) {
        return refuse(
            field,
            format!("{value:?} does not start with a letter or digit"),
        );
    }
    Ok(())
}
