//! Checks that a FIT image is whole: every image in it against its SHA-256, as U-Boot does before
//! it boots one.
//!
//! Source: the flattened devicetree format (Devicetree Specification 0.4, chapter 5) and U-Boot's
//! doc/usage/fit/source_file_format.rst. Read by small pieces: a kernel may be larger than
//! RecoveryOS's memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use dau_system::durable;
use openssl::sha::Sha256;

const MAGIC: u32 = 0xd00d_feed;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
/// Longest node or property name that is read.
const MAX_NAME: usize = 64;
/// Most entries of the structure that are walked.
const MAX_TOKENS: usize = 4096;
/// Longest description that is read.
const MAX_DESCRIPTION: usize = 256;
/// Nodes within nodes; a FIT image has four.
const MAX_DEPTH: usize = 16;
const CHUNK: usize = 64 << 10;
/// The word of `boot/make-fit` in the description of a RecoveryOS that takes rebuilt packages.
const TAKES_REBUILT: &str = "rebuilt-packages";

/// A reason why a file is no FIT image that can be trusted to boot.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is shorter than it says, or says what makes no sense.
    #[error("is torn or no FIT image: {0}")]
    Malformed(&'static str),
    /// An image in it has no SHA-256.
    #[error("image '{0}' in it has no SHA-256")]
    NoHash(String),
    /// The bytes are not those that were put in.
    #[error("image '{0}' in it does not match its SHA-256")]
    Mismatch(String),
}

/// Checks the FIT image in `path`; returns its size in bytes, which is at most that of the file.
pub fn check(path: &Path) -> Result<u64, FitError> {
    let file = durable::open(path)?;
    let length = file.metadata()?.len();
    let fit = Fit {
        file: &file,
        start: 0,
    };
    if fit.word(0)? != MAGIC {
        return malformed("it does not begin as one");
    }
    let size = u64::from(fit.word(4)?);
    if size > length {
        return malformed("the file is shorter than the image");
    }
    let (structure, strings) = (u64::from(fit.word(8)?), u64::from(fit.word(12)?));
    if structure >= size || strings >= size {
        return malformed("its parts stand outside of it");
    }
    let images = fit.images(structure, strings, size)?;
    if images.is_empty() {
        return malformed("it holds no image");
    }
    for image in images {
        image.check(&fit, size, length)?;
    }
    Ok(size)
}

/// What the description of a FIT image says: `DAU product version what`, as `boot/make-fit` writes it
/// for every builder, and behind that what a RecoveryOS can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub version: String,
    /// It takes packages that were rebuilt of deltas.
    pub takes_rebuilt: bool,
}

/// Returns what the description of the FIT image at `start` of `file` says; `None` where it has
/// another form. The image is not checked: see [`check`].
pub fn describe(file: &File, start: u64) -> Result<Option<Description>, FitError> {
    let fit = Fit { file, start };
    if fit.word(0)? != MAGIC {
        return malformed("it does not begin as one");
    }
    let size = u64::from(fit.word(4)?);
    let strings = u64::from(fit.word(12)?);
    // The root's own properties stand before its first node.
    let mut at = u64::from(fit.word(8)?).saturating_add(8);
    for _ in 0..MAX_NAME {
        if at.saturating_add(4) > size || fit.word(at)? != PROP {
            break;
        }
        let (name, data, length) = fit.property_at(at.saturating_add(4), strings)?;
        if name == "description" {
            let bytes = fit.bytes(data, length, MAX_DESCRIPTION)?;
            return Ok(described(&String::from_utf8_lossy(&bytes)));
        }
        at = data.saturating_add(aligned(length));
    }
    Ok(None)
}

fn described(description: &str) -> Option<Description> {
    let mut words = description.trim_end_matches('\0').split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some("DAU"), Some(_), Some(version), Some(_)) if !version.is_empty() => {
            Some(Description {
                version: version.to_owned(),
                takes_rebuilt: words.any(|word| word == TAKES_REBUILT),
            })
        }
        _ => None,
    }
}

/// A node below `/images`.
#[derive(Debug, Default)]
struct Image {
    name: String,
    /// Offset in the file and length.
    data: Option<(u64, u64)>,
    position: Option<u64>,
    offset: Option<u64>,
    size: Option<u64>,
    hashes: Vec<Hash>,
}

#[derive(Debug, Default)]
struct Hash {
    sha256: bool,
    value: Vec<u8>,
}

struct Fit<'a> {
    file: &'a File,
    /// Offset of the image in it.
    start: u64,
}

impl Fit<'_> {
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file
            .read_exact_at(bytes, self.start.saturating_add(offset))
    }

    fn word(&self, offset: u64) -> Result<u32, FitError> {
        let mut bytes = [0; 4];
        self.read(&mut bytes, offset)?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// A name that ends with a zero byte.
    fn name(&self, offset: u64) -> Result<String, FitError> {
        let mut bytes = [0; MAX_NAME];
        let offset = self.start.saturating_add(offset);
        let count = self.file.read_at(&mut bytes, offset)?;
        let mut parts = bytes
            .get(..count)
            .unwrap_or_default()
            .split(|byte| *byte == 0);
        match (parts.next(), parts.next()) {
            (Some(name), Some(_)) => Ok(String::from_utf8_lossy(name).into_owned()),
            _ => malformed("a name in it has no end"),
        }
    }

    /// Name, and offset and length of the value, of the property that is described at `at`.
    fn property_at(&self, at: u64, strings: u64) -> Result<(String, u64, u64), FitError> {
        let length = u64::from(self.word(at)?);
        let name = u64::from(self.word(at.saturating_add(4))?);
        let name = self.name(strings.saturating_add(name))?;
        Ok((name, at.saturating_add(8), length))
    }

    /// The first bytes of a value, at most `limit`.
    fn bytes(&self, data: u64, length: u64, limit: usize) -> Result<Vec<u8>, FitError> {
        let length = usize::try_from(length).map_or(limit, |length| length.min(limit));
        let mut bytes = vec![0; length];
        self.read(&mut bytes, data)?;
        Ok(bytes)
    }

    fn images(&self, structure: u64, strings: u64, size: u64) -> Result<Vec<Image>, FitError> {
        let mut images: Vec<Image> = Vec::new();
        let mut path: Vec<String> = Vec::new();
        let mut at = structure;
        for _ in 0..MAX_TOKENS {
            if at.saturating_add(4) > size || path.len() > MAX_DEPTH {
                return malformed("its structure has no end");
            }
            let token = self.word(at)?;
            at = at.saturating_add(4);
            match token {
                BEGIN_NODE => {
                    let name = self.name(at)?;
                    at = at.saturating_add(aligned((name.len() as u64).saturating_add(1)));
                    path.push(name);
                    match path
                        .iter()
                        .map(String::as_str)
                        .collect::<Vec<_>>()
                        .as_slice()
                    {
                        ["", "images", image] => images.push(Image {
                            name: (*image).to_owned(),
                            ..Image::default()
                        }),
                        ["", "images", _, node] if node.starts_with("hash") => {
                            if let Some(image) = images.last_mut() {
                                image.hashes.push(Hash::default());
                            }
                        }
                        _ => {}
                    }
                }
                END_NODE => {
                    path.pop();
                }
                PROP => {
                    let (name, data, length) = self.property_at(at, strings)?;
                    at = data.saturating_add(aligned(length));
                    if at > size {
                        return malformed("a property stands outside of it");
                    }
                    if let (Some(image), Some("images")) =
                        (images.last_mut(), path.get(1).map(String::as_str))
                    {
                        self.property(image, &path, &name, data, length)?;
                    }
                }
                NOP => {}
                END => return Ok(images),
                _ => return malformed("its structure makes no sense"),
            }
        }
        malformed("its structure is too large")
    }

    fn property(
        &self,
        image: &mut Image,
        path: &[String],
        name: &str,
        data: u64,
        length: u64,
    ) -> Result<(), FitError> {
        let number = || self.word(data).map(u64::from);
        match (path.len(), name) {
            (3, "data") => image.data = Some((data, length)),
            (3, "data-position") => image.position = Some(number()?),
            (3, "data-offset") => image.offset = Some(number()?),
            (3, "data-size") => image.size = Some(number()?),
            (4, "algo" | "value") => {
                let bytes = self.bytes(data, length, MAX_NAME)?;
                let is_hash = path.last().is_some_and(|node| node.starts_with("hash"));
                if let Some(hash) = image.hashes.last_mut().filter(|_| is_hash) {
                    match name {
                        "algo" => hash.sha256 = bytes == b"sha256\0",
                        _ => hash.value = bytes,
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Image {
    /// `size` is where data outside the structure begins (aligned), `length` where the file ends.
    fn check(&self, fit: &Fit<'_>, size: u64, length: u64) -> Result<(), FitError> {
        let (start, count) = match (self.data, self.position, self.offset, self.size) {
            (Some(inside), ..) => inside,
            (None, Some(position), _, Some(count)) => (position, count),
            (None, None, Some(offset), Some(count)) => {
                (aligned(size).saturating_add(offset), count)
            }
            _ => return malformed("an image in it has no data"),
        };
        if start.checked_add(count).is_none_or(|end| end > length) {
            return malformed("an image stands outside of it");
        }
        let Some(expected) = self.hashes.iter().find(|hash| hash.sha256) else {
            return Err(FitError::NoHash(self.name.clone()));
        };
        match digest(fit.file, start, count)?.as_slice() == expected.value {
            true => Ok(()),
            false => Err(FitError::Mismatch(self.name.clone())),
        }
    }
}

/// SHA-256 of a part of a file.
pub fn digest(file: &File, start: u64, count: u64) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut done = 0_u64;
    while done < count {
        let left = usize::try_from(count.saturating_sub(done)).unwrap_or(CHUNK);
        let piece = buffer.get_mut(..left.min(CHUNK)).unwrap_or_default();
        file.read_exact_at(piece, start.saturating_add(done))?;
        hasher.update(piece);
        done = done.saturating_add(piece.len() as u64);
    }
    Ok(hasher.finish())
}

/// Rounded up to where the next word stands.
fn aligned(length: u64) -> u64 {
    length.checked_next_multiple_of(4).unwrap_or(u64::MAX)
}

fn malformed<T>(why: &'static str) -> Result<T, FitError> {
    Err(FitError::Malformed(why))
}

#[cfg(any(test, feature = "testing"))]
#[allow(clippy::arithmetic_side_effects, reason = "it makes images for tests")]
pub mod testing;
#[cfg(test)]
mod tests;
