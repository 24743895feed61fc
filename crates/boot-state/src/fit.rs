//! Whether a FIT image is whole: every image in it against its SHA-256, as U-Boot does before it boots one.
//!
//! Source: the flattened devicetree format (Devicetree Specification 0.4, chapter 5) and U-Boot's
//! doc/usage/fit/source_file_format.rst. Read by small pieces: a kernel may be larger than RecoveryOS's memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

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
const MAX_DESCRIPTION: u64 = 256;
const CHUNK: usize = 64 << 10;

/// Why a file is no FIT image that can be trusted to boot.
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
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let fit = Fit { file };
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

/// The version in the description of the FIT image in `path`: `DAU product version what`, as `boot/make-fit` is told to
/// write it by every builder. `None` where the image says something else. The image is not checked: see [`check`].
pub fn version(path: &Path) -> Result<Option<String>, FitError> {
    let fit = Fit {
        file: File::open(path)?,
    };
    if fit.word(0)? != MAGIC {
        return malformed("it does not begin as one");
    }
    let size = u64::from(fit.word(4)?);
    let strings = u64::from(fit.word(12)?);
    // The root's own properties stand before its first node.
    let mut at = u64::from(fit.word(8)?) + 8;
    for _ in 0..MAX_NAME {
        if at + 4 > size || fit.word(at)? != PROP {
            break;
        }
        let length = u64::from(fit.word(at + 4)?);
        let name = fit.name(strings + u64::from(fit.word(at + 8)?))?;
        if name == "description" {
            let mut bytes = vec![0; length.min(MAX_DESCRIPTION) as usize];
            fit.file.read_exact_at(&mut bytes, at + 12)?;
            return Ok(version_of(&String::from_utf8_lossy(&bytes)));
        }
        at += 12 + length.next_multiple_of(4);
    }
    Ok(None)
}

fn version_of(description: &str) -> Option<String> {
    let mut words = description.trim_end_matches('\0').split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some("DAU"), Some(_), Some(version), Some(_)) if !version.is_empty() => {
            Some(version.to_owned())
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

struct Fit {
    file: File,
}

impl Fit {
    fn word(&self, offset: u64) -> Result<u32, FitError> {
        let mut bytes = [0; 4];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// A name that ends with a zero byte.
    fn name(&self, offset: u64) -> Result<String, FitError> {
        let mut bytes = [0; MAX_NAME];
        let count = self.file.read_at(&mut bytes, offset)?;
        let end = bytes[..count].iter().position(|byte| *byte == 0);
        let Some(end) = end else {
            return malformed("a name in it has no end");
        };
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    fn images(&self, structure: u64, strings: u64, size: u64) -> Result<Vec<Image>, FitError> {
        let mut images: Vec<Image> = Vec::new();
        let mut path: Vec<String> = Vec::new();
        let mut at = structure;
        for _ in 0..MAX_TOKENS {
            if at + 4 > size {
                return malformed("its structure has no end");
            }
            let token = self.word(at)?;
            at += 4;
            match token {
                BEGIN_NODE => {
                    let name = self.name(at)?;
                    at += (name.len() as u64 + 1).next_multiple_of(4);
                    path.push(name);
                    match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                        ["", "images", image] => images.push(Image {
                            name: image.to_owned(),
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
                    let length = u64::from(self.word(at)?);
                    let name = self.name(strings + u64::from(self.word(at + 4)?))?;
                    let data = at + 8;
                    at = data + length.next_multiple_of(4);
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
                let mut bytes = vec![0; length.min(MAX_NAME as u64) as usize];
                self.file.read_exact_at(&mut bytes, data)?;
                let is_hash = path[3].starts_with("hash");
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
    fn check(&self, fit: &Fit, size: u64, length: u64) -> Result<(), FitError> {
        let (start, count) = match (self.data, self.position, self.offset, self.size) {
            (Some(inside), ..) => inside,
            (None, Some(position), _, Some(count)) => (position, count),
            (None, None, Some(offset), Some(count)) => (size.next_multiple_of(4) + offset, count),
            _ => return malformed("an image in it has no data"),
        };
        if start.checked_add(count).is_none_or(|end| end > length) {
            return malformed("an image stands outside of it");
        }
        let Some(expected) = self.hashes.iter().find(|hash| hash.sha256) else {
            return Err(FitError::NoHash(self.name.clone()));
        };
        match digest(&fit.file, start, count)?[..] == expected.value[..] {
            true => Ok(()),
            false => Err(FitError::Mismatch(self.name.clone())),
        }
    }
}

/// SHA-256 of a part of a file.
pub fn digest(file: &File, start: u64, count: u64) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    while done < count {
        let piece = (count - done).min(CHUNK as u64) as usize;
        file.read_exact_at(&mut buffer[..piece], start + done)?;
        hasher.update(&buffer[..piece]);
        done += piece as u64;
    }
    Ok(hasher.finish())
}

fn malformed<T>(why: &'static str) -> Result<T, FitError> {
    Err(FitError::Malformed(why))
}

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
