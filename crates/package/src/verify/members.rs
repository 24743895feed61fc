//! The members of `system.tar`, walked as its bytes pass by.

use openssl::sha::Sha256;

use crate::container::{check_zero, expect_member, parse_header, unexpected, Found};
use crate::manifest::{hex, padded, Payload, BLOCK};
use crate::verify::PayloadLocation;
use crate::{member, Manifest, PackageError};

/// A payload as found.
pub(super) struct FoundMember {
    payload: Payload,
    /// Offset in `system.tar` of its first byte.
    offset: u64,
    sha256: String,
}

impl FoundMember {
    /// Where it stands in the package, if it is what the manifest says.
    pub(super) fn check(self, system_offset: u64) -> Result<PayloadLocation, PackageError> {
        if self.sha256 != self.payload.sha256 {
            return Err(PackageError::Sha256Mismatch {
                member: self.payload.payload_type.member(),
                expected: self.payload.sha256,
                found: self.sha256,
            });
        }
        Ok(PayloadLocation {
            offset: system_offset + self.offset,
            len: self.payload.size,
            payload: self.payload,
        })
    }
}

/// What the next bytes are.
enum Expect {
    /// The header of a payload.
    Header,
    /// Content of a payload, and this many bytes more of it.
    Content(u64),
    /// Padding of a payload.
    Padding(u64),
    /// Zero blocks to the end.
    End,
}

/// Walks `system.tar` piece by piece. A fault is kept to the end, since a torn file is better explained by its digest.
pub(super) struct Walk<'a> {
    pending: std::slice::Iter<'a, Payload>,
    current: Option<&'a Payload>,
    expect: Expect,
    header: Vec<u8>,
    sha256: Sha256,
    offset: u64,
    size: u64,
    found: Vec<FoundMember>,
    fault: Option<PackageError>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(manifest: &'a Manifest) -> Self {
        let mut pending = manifest.payloads.iter();
        Self {
            current: pending.next(),
            pending,
            expect: Expect::Header,
            header: Vec::with_capacity(BLOCK as usize),
            sha256: Sha256::new(),
            offset: 0,
            size: manifest.system.size,
            found: Vec::new(),
            fault: None,
        }
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
            self.offset += taken as u64;
            bytes = &bytes[taken..];
        }
    }

    pub(super) fn finish(self) -> Result<Vec<FoundMember>, PackageError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        match self.expect {
            Expect::End if self.offset == self.size => Ok(self.found),
            _ => Err(PackageError::Truncated {
                member: member::SYSTEM,
            }),
        }
    }

    /// Takes some of `bytes`, which are not empty.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, PackageError> {
        let Some(payload) = self.current else {
            return self.step_end(bytes);
        };
        let member = payload.payload_type.member();
        match self.expect {
            Expect::Header => {
                let taken = bytes.len().min(BLOCK as usize - self.header.len());
                self.header.extend_from_slice(&bytes[..taken]);
                if let Ok(block) = self.header.as_slice().try_into() {
                    let size = expect_member(block, member, payload.size)?;
                    if size != payload.size {
                        return Err(PackageError::Malformed {
                            member,
                            reason: format!(
                                "it has {size} bytes, but manifest.json says {}",
                                payload.size
                            ),
                        });
                    }
                    self.header.clear();
                    self.sha256 = Sha256::new();
                    self.expect = Expect::Content(size);
                }
                Ok(taken)
            }
            Expect::Content(left) => {
                let taken = part(bytes, left);
                self.sha256.update(&bytes[..taken]);
                self.expect = match left - taken as u64 {
                    0 => self.end_content(payload, self.offset + taken as u64),
                    left => Expect::Content(left),
                };
                Ok(taken)
            }
            Expect::Padding(left) => {
                let taken = part(bytes, left);
                check_zero(&bytes[..taken], member)?;
                self.expect = match left - taken as u64 {
                    0 => self.next_member(),
                    left => Expect::Padding(left),
                };
                Ok(taken)
            }
            Expect::End => self.step_end(bytes),
        }
    }

    fn end_content(&mut self, payload: &Payload, end: u64) -> Expect {
        let digest = std::mem::replace(&mut self.sha256, Sha256::new()).finish();
        self.found.push(FoundMember {
            payload: payload.clone(),
            offset: end - payload.size,
            sha256: hex(&digest),
        });
        match padded(payload.size) - payload.size {
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

    /// Zero blocks, or a member too many. How many there may be follows from the size in the manifest.
    fn step_end(&mut self, bytes: &[u8]) -> Result<usize, PackageError> {
        const MEMBER: &str = "the end of system.tar";
        let taken = bytes.len().min(BLOCK as usize - self.header.len());
        self.header.extend_from_slice(&bytes[..taken]);
        if let Ok(block) = self.header.as_slice().try_into() {
            match parse_header(block, MEMBER)? {
                Found::End => self.header.clear(),
                Found::Member { name, .. } => return Err(unexpected(MEMBER, &name)),
            }
        }
        Ok(taken)
    }
}

/// As many of `bytes` as there are of `left`.
fn part(bytes: &[u8], left: u64) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}
