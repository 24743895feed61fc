//! Computes the digests of `system.tar` in parallel while reading it once.

use std::io::{self, Read};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};

use md5::{Digest, Md5};
use openssl::sha::Sha256;

use dau_model::hex;

use super::body::short_read;
use super::members::{FoundMember, Walk};
use crate::{Form, Manifest, PackageError};

/// Bytes handed over at once.
const CHUNK: usize = 64 << 10;
/// Most chunks waiting for one digest.
const QUEUE: usize = 2;

/// The actual digests of `system.tar`.
pub(super) struct Digests {
    pub md5: String,
    pub sha256: String,
    pub members: Result<Vec<FoundMember>, PackageError>,
}

type Chunk = Arc<Vec<u8>>;

/// Reads the tar of the payloads, of `size` bytes, from the position of `file`. MD5 and both kinds of SHA-256 (of all of it, and
/// of each payload) have a thread each, as together they take as long as three passes.
pub(super) fn compute(
    file: &mut impl Read,
    manifest: &Manifest,
    form: Form,
    size: u64,
    progress: &mut dyn FnMut(u64, u64) -> io::Result<()>,
) -> Result<Digests, PackageError> {
    thread::scope(|scope| {
        let (md5_sender, chunks) = sync_channel(QUEUE);
        let md5 = spawn(scope, move || md5_of(&chunks))?;
        let (sha256_sender, chunks) = sync_channel(QUEUE);
        let sha256 = spawn(scope, move || sha256_of(&chunks))?;
        let (walk_sender, chunks) = sync_channel(QUEUE);
        let members = spawn(scope, move || members_of(&chunks, manifest, form, size))?;

        // The senders are dropped with this call, on any outcome, which ends the threads.
        read_chunks(
            file,
            size,
            form,
            &[md5_sender, sha256_sender, walk_sender],
            progress,
        )?;
        Ok(Digests {
            md5: join(md5)?,
            sha256: join(sha256)?,
            members: join(members)?,
        })
    })
}

fn read_chunks(
    file: &mut impl Read,
    total: u64,
    form: Form,
    receivers: &[SyncSender<Chunk>],
    progress: &mut dyn FnMut(u64, u64) -> io::Result<()>,
) -> Result<(), PackageError> {
    let mut done = 0_u64;
    progress(done, total)?;
    while done < total {
        let count =
            usize::try_from(total.saturating_sub(done)).map_or(CHUNK, |left| left.min(CHUNK));
        let mut bytes = vec![0; count];
        file.read_exact(&mut bytes)
            .map_err(|error| short_read(error, form.system()))?;
        let chunk = Arc::new(bytes);
        for receiver in receivers {
            receiver
                .send(Arc::clone(&chunk))
                .map_err(|_| io::Error::other("a thread that computes digests ended"))?;
        }
        done = done.saturating_add(count as u64);
        progress(done, total)?;
    }
    Ok(())
}

fn md5_of(chunks: &Receiver<Chunk>) -> String {
    let mut digest = Md5::new();
    for chunk in chunks {
        digest.update(chunk.as_slice());
    }
    hex::encode(digest.finalize())
}

fn sha256_of(chunks: &Receiver<Chunk>) -> String {
    let mut digest = Sha256::new();
    for chunk in chunks {
        digest.update(&chunk);
    }
    hex::encode(digest.finish())
}

fn members_of(
    chunks: &Receiver<Chunk>,
    manifest: &Manifest,
    form: Form,
    size: u64,
) -> Result<Vec<FoundMember>, PackageError> {
    let mut walk = Walk::new(manifest, form, size)?;
    for chunk in chunks {
        walk.update(&chunk);
    }
    walk.finish()
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    thread::Builder::new()
        .name("digest".into())
        .spawn_scoped(scope, work)
}

fn join<T>(handle: ScopedJoinHandle<'_, T>) -> io::Result<T> {
    handle
        .join()
        .map_err(|_| io::Error::other("a thread that computes digests panicked"))
}
