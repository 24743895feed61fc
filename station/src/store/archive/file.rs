//! The files of archives.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;

use anyhow::{ensure, Context, Result};
use openssl::sha::Sha256;

use dau_model::hex;

use super::{file_name, Archive, PIECE};
use crate::store::chain::{self, Hash, Line};
use crate::store::sql::params;
use crate::store::{self, Read};

/// zstd's usual level.
const LEVEL: i32 = 3;
/// Longest line, bytes: ten times what the station writes.
const MOST_OF_LINE: u64 = 1 << 20;

/// Writes the file, over an unfinished one that a killed station may have left.
pub fn write(r: &Read<'_>, folder: &Path, first: i64, last: i64) -> Result<Archive> {
    let number = r.one(
        "SELECT coalesce(max(number), 0) + 1 FROM archives",
        params![],
        |row| row.get(0),
    )?;
    let mut archive = Archive {
        number,
        first,
        last,
        first_at: i64::MAX,
        last_at: i64::MIN,
        bytes: 0,
        sha256: String::new(),
        last_hash: None,
    };
    let path = folder.join(file_name(number));
    let part = path.with_extension("part");
    let file = File::create(&part)
        .with_context(|| format!("the archive {} cannot be written", part.display()))?;
    let mut encoder = zstd::Encoder::new(Digested::new(BufWriter::new(file)), LEVEL)?;
    encoder.include_checksum(true)?;
    let mut next = first;
    while next <= last {
        let end = next.saturating_add(PIECE - 1).min(last);
        for (line, hash) in lines(r, next, end)? {
            archive.first_at = archive.first_at.min(line.at);
            archive.last_at = archive.last_at.max(line.at);
            archive.last_hash = hash;
            encoder.write_all(line.text(hash).as_bytes())?;
            encoder.write_all(b"\n")?;
        }
        next = end.saturating_add(1);
    }
    let digested = encoder.finish()?;
    archive.bytes = i64::try_from(digested.bytes)?;
    archive.sha256 = hex::encode(digested.sha256.finish());
    let file = digested.inner.into_inner();
    file.map_err(|error| error.into_error())?.sync_all()?;
    fs::rename(&part, &path)?;
    File::open(folder)?.sync_all()?;
    Ok(archive)
}

/// Returns events with their hashes.
pub fn lines(r: &Read<'_>, first: i64, last: i64) -> store::Result<Vec<(Line, Option<Hash>)>> {
    let columns = chain::COLUMNS;
    let sql = format!("SELECT {columns} FROM events WHERE id BETWEEN ? AND ? ORDER BY id");
    r.all(&sql, params![first, last], Line::of)
}

/// Passes the lines of an archive to `each`, until that fails; then checks the file against what is
/// known of it.
pub fn read(
    folder: &Path,
    archive: &Archive,
    each: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<()> {
    let file = File::open(folder.join(archive.file_name()))?;
    let mut decoder = zstd::Decoder::new(Digested::new(file))?;
    let mut lines = BufReader::new(&mut decoder);
    let mut line = String::new();
    loop {
        line.clear();
        (&mut lines).take(MOST_OF_LINE).read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(line) => each(line)?,
            None if line.is_empty() => break,
            None => anyhow::bail!("it has a line without an end"),
        }
    }
    drop(lines);
    let mut rest = decoder.finish();
    io::copy(&mut rest, &mut io::sink())?;
    let digested = rest.into_inner();
    let same = i64::try_from(digested.bytes).ok() == Some(archive.bytes)
        && hex::encode(digested.sha256.finish()) == archive.sha256;
    ensure!(same, "it is not the file that was sealed");
    Ok(())
}

/// What is read or written, digested.
struct Digested<T> {
    inner: T,
    sha256: Sha256,
    bytes: u64,
}

impl<T> Digested<T> {
    fn new(inner: T) -> Self {
        Digested {
            inner,
            sha256: Sha256::new(),
            bytes: 0,
        }
    }

    fn digest(&mut self, content: &[u8], count: usize) {
        self.sha256.update(content.get(..count).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(count as u64);
    }
}

impl<T: io::Write> io::Write for Digested<T> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(content)?;
        self.digest(content, count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: io::Read> io::Read for Digested<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest(buffer, count);
        Ok(count)
    }
}
