//! Walks the members of `system.tar` as its bytes pass by.

use openssl::sha::Sha256;

use dau_model::hex;

use crate::blocks::{padded, BLOCK, END};
use crate::container::{check_zero, expect_member, header, parse_header, unexpected, Found};
use crate::manifest::Payload;
use crate::verify::PayloadLocation;
use crate::{Form, Manifest, PackageError, MAX_SYSTEM_TAR};

/// A payload that was found.
pub(super) struct FoundMember {
    payload: Payload,
    /// Offset of its first byte in the tar.
    offset: u64,
    /// Stored bytes.
    len: u64,
    /// As stored; `None` where only the image counts.
    sha256: Option<String>,
}

impl FoundMember {
    /// Returns its place in the package if it matches the manifest.
    pub(super) fn check(self, system_offset: u64) -> Result<PayloadLocation, PackageError> {
        if let Some(found) = self.sha256.filter(|found| *found != self.payload.sha256) {
            return Err(PackageError::Sha256Mismatch {
                member: self.payload.payload_type.member(),
                expected: self.payload.sha256,
                found,
            });
        }
        Ok(PayloadLocation {
            offset: system_offset.saturating_add(self.offset),
            len: self.len,
            payload: self.payload,
        })
    }
}

/// The next bytes.
enum Expect {
    /// The header of a payload.
    Header,
    /// The remaining bytes of a payload's content.
    Content(u64),
    /// Padding of a payload.
    Padding(u64),
    /// Zero blocks to the end.
    End,
}

/// Walks the tar of the payloads piece by piece. A fault is reported only at the end, as the digest explains
/// an incomplete file better.
pub(super) struct Walk<'a> {
    pending: std::slice::Iter<'a, Payload>,
    current: Option<&'a Payload>,
    expect: Expect,
    header: Vec<u8>,
    sha256: Sha256,
    offset: u64,
    form: Form,
    /// Size of the tar, bytes.
    size: u64,
    /// Size of the current payload as stored, bytes.
    stored: u64,
    mtime: u64,
    found: Vec<FoundMember>,
    fault: Option<PackageError>,
}

impl<'a> Walk<'a> {
    /// Starts before the first member of a tar of `size` bytes.
    pub(super) fn new(manifest: &'a Manifest, form: Form, size: u64) -> Result<Self, PackageError> {
        let mut pending = manifest.payloads.iter();
        Ok(Self {
            current: pending.next(),
            pending,
            expect: Expect::Header,
            header: Vec::with_capacity(BLOCK as usize),
            sha256: Sha256::new(),
            offset: 0,
            form,
            size,
            stored: 0,
            mtime: u64::try_from(manifest.created_unix()?).unwrap_or_default(),
            found: Vec::new(),
            fault: None,
        })
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.fault.is_none() {
            let taken = match self.step(bytes) {
                Ok(taken) => taken,
                Err(fault) => {
                    self.fault = Some(fault);
                    return;
                }
            };
            self.offset = self.offset.saturating_add(taken as u64);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    pub(super) fn finish(self) -> Result<Vec<FoundMember>, PackageError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        match self.expect {
            Expect::End if self.offset == self.size => self.check_end(),
            _ => Err(PackageError::Truncated {
                member: self.form.system(),
            }),
        }
    }

    /// Checks that nothing but two zero blocks ends a rebuilt tar; the manifest gives the other its
    /// length.
    fn check_end(self) -> Result<Vec<FoundMember>, PackageError> {
        let end = self.found.last().map_or(0, |last| {
            let end = last.offset.saturating_add(padded(last.len));
            end.saturating_add(END)
        });
        if self.form == Form::Rebuilt && self.size != end {
            return Err(PackageError::Malformed {
                member: self.form.system(),
                reason: format!("it has {} bytes, but its members make it {end}", self.size),
            });
        }
        Ok(self.found)
    }

    /// Consumes some of `bytes`, which must not be empty.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, PackageError> {
        let Some(payload) = self.current else {
            return self.step_end(bytes);
        };
        let member = payload.payload_type.member();
        match self.expect {
            Expect::Header => {
                let taken = self.fill_header(bytes);
                if let Ok(block) = self.header.as_slice().try_into() {
                    let size = match self.anew(payload) {
                        true => expect_member(block, member, MAX_SYSTEM_TAR)?,
                        false => expect_member(block, member, payload.size)?,
                    };
                    if size != payload.size && !self.anew(payload) {
                        return Err(PackageError::Malformed {
                            member,
                            reason: format!(
                                "it has {size} bytes, but manifest.json says {}",
                                payload.size
                            ),
                        });
                    }
                    // Nobody signed these headers, so each has one form.
                    let right = header(member, size, self.mtime)?;
                    if self.form == Form::Rebuilt && block != right.as_bytes() {
                        return Err(PackageError::Malformed {
                            member,
                            reason: "its tar header is not the one that the format gives it".into(),
                        });
                    }
                    self.stored = size;
                    self.header.clear();
                    self.sha256 = Sha256::new();
                    self.expect = match size {
                        0 => self.end_content(payload, self.offset.saturating_add(taken as u64)),
                        size => Expect::Content(size),
                    };
                }
                Ok(taken)
            }
            Expect::Content(left) => {
                let (part, left) = part(bytes, left);
                self.sha256.update(part);
                let taken = part.len();
                self.expect = match left {
                    0 => self.end_content(payload, self.offset.saturating_add(taken as u64)),
                    left => Expect::Content(left),
                };
                Ok(taken)
            }
            Expect::Padding(left) => {
                let (part, left) = part(bytes, left);
                check_zero(part, member)?;
                self.expect = match left {
                    0 => self.next_member(),
                    left => Expect::Padding(left),
                };
                Ok(part.len())
            }
            Expect::End => self.step_end(bytes),
        }
    }

    /// Tells whether a payload was compressed anew.
    fn anew(&self, payload: &Payload) -> bool {
        self.form == Form::Rebuilt && payload.payload_type.is_rootfs()
    }

    /// Completes a header; returns how many of `bytes` were used.
    fn fill_header(&mut self, bytes: &[u8]) -> usize {
        let lacking = (BLOCK as usize).saturating_sub(self.header.len());
        let part = bytes.get(..lacking).unwrap_or(bytes);
        self.header.extend_from_slice(part);
        part.len()
    }

    fn end_content(&mut self, payload: &Payload, end: u64) -> Expect {
        let digest = std::mem::replace(&mut self.sha256, Sha256::new()).finish();
        self.found.push(FoundMember {
            payload: payload.clone(),
            offset: end.saturating_sub(self.stored),
            len: self.stored,
            sha256: (!self.anew(payload)).then(|| hex::encode(digest)),
        });
        match padded(self.stored).saturating_sub(self.stored) {
            0 => self.next_member(),
            left => Expect::Padding(left),
        }
    }

    fn next_member(&mut self) -> Expect {
        self.current = self.pending.next();
        match self.current {
            Some(_) => Expect::Header,
            None => Expect::End,
        }
    }

    /// Checks for zero blocks; anything else is a surplus member. Their number follows from the
    /// size in the manifest.
    fn step_end(&mut self, bytes: &[u8]) -> Result<usize, PackageError> {
        const MEMBER: &str = "the end of the payloads";
        let taken = self.fill_header(bytes);
        if let Ok(block) = self.header.as_slice().try_into() {
            match parse_header(block, MEMBER)? {
                Found::End => self.header.clear(),
                Found::Member { name, .. } => return Err(unexpected(MEMBER, &name)),
            }
        }
        Ok(taken)
    }
}

/// Returns at most `left` of `bytes`, and the rest of `left`.
fn part(bytes: &[u8], left: u64) -> (&[u8], u64) {
    let count = usize::try_from(left).unwrap_or(usize::MAX);
    let part = bytes.get(..count).unwrap_or(bytes);
    (part, left.saturating_sub(part.len() as u64))
}
