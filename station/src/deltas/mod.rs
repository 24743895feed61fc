//! Makes the deltas that operators ask for, one at a time, each in a process of its own ([`make`]).
//!
//! The station has no signing key. With `deltas.sign_command` in its configuration that command signs;
//! else the delta waits in the folder `unsigned` to be signed elsewhere and uploaded.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{anyhow, Context, Result};
use log::{error, info, warn};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::clock;
use crate::store;
use crate::store::deltas::{self, Delta};
use crate::store::packages::{self, Package};
use crate::web::health::MIN_FREE;
use crate::web::packages::take_in;
use crate::web::Station;

pub mod make;

/// Time between two notes of the progress.
const NOTE: Duration = Duration::from_secs(1);
/// Wait after a failure of the database.
const PAUSE: Duration = Duration::from_secs(60);
/// Most bytes that are kept of what the process says of its failure.
const MAX_SAID: usize = 1 << 10;
/// Longest wait for the end of that, once the process has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Name of the delta in its folder.
const FILE: &str = "x.delta.dau";

/// Makes what is asked for; runs for ever.
pub async fn run(station: Arc<Station>) {
    note_interrupted(&station, true).await;
    if let Err(error) = tidy(&station).await {
        warn!("the folder of unsigned deltas cannot be tidied: {error:#}");
    }
    loop {
        let name = station.config.mqtt.client_id.clone();
        let begun = station
            .store
            .write(move |w| deltas::begin(w, clock::now(), &name));
        match begun.await {
            Ok(Some(delta)) => work(&station, &delta).await,
            Ok(None) => {
                // Another station may have been asked, or be gone.
                let _ = tokio::time::timeout(PAUSE, station.deltas.notified()).await;
                note_interrupted(&station, false).await;
            }
            Err(error) => {
                error!("no delta can be begun: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Ends deltas that a stopped station was making: this one, if it has just started, or another.
async fn note_interrupted(station: &Station, started: bool) {
    let name = station.config.mqtt.client_id.clone();
    let noted = station.store.write(move |w| {
        let started = started.then_some(name.as_str());
        deltas::interrupted(w, clock::now(), started)
    });
    if let Err(error) = noted.await {
        error!("deltas that were interrupted cannot be noted: {error}");
    }
}

/// Removes files whose deltas wait for no signature any more: the station was killed in between.
async fn tidy(station: &Station) -> Result<()> {
    let folder = Station::unsigned_dir(&station.config);
    let (mut entries, mut paths) = (tokio::fs::read_dir(&folder).await?, Vec::new());
    while let Some(entry) = entries.next_entry().await? {
        paths.push(entry.path());
    }
    // After that: another station may have put one there meanwhile.
    let wanted = station.store.read(deltas::unsigned).await?;
    for path in paths {
        if !wanted.iter().any(|id| station.unsigned_path(*id) == path) {
            tokio::fs::remove_file(path).await?;
        }
    }
    Ok(())
}

async fn work(station: &Arc<Station>, delta: &Delta) {
    let id = delta.id;
    match attempt(station, delta).await {
        Ok(true) => info!("delta {id} was made"),
        Ok(false) => info!("delta {id} was given up"),
        Err(error) => {
            let why = format!("{error:#}");
            warn!("delta {id} cannot be made: {why}");
            let noted = station
                .store
                .write(move |w| deltas::fail(w, clock::now(), id, &why));
            if let Err(error) = noted.await {
                error!("the failure of delta {id} cannot be noted: {error}");
            }
        }
    }
}

/// Makes a delta; returns false if it was removed meanwhile.
async fn attempt(station: &Arc<Station>, delta: &Delta) -> Result<bool> {
    let (base, target) = (delta.base, delta.target);
    let both = station
        .store
        .read(move |c| Ok::<_, store::Error>((packages::get(c, base)?, packages::get(c, target)?)));
    let (Some(base), Some(target)) = both.await? else {
        return Err(anyhow!("a package was removed: base or target"));
    };
    let dir = tempfile::tempdir_in(station.incoming_dir()).context("no room for the delta")?;
    let child = start(station, &base, &target, dir.path())?;
    if !follow(station, delta.id, child).await? {
        return Ok(false);
    }
    keep(station, delta, dir).await
}

fn start(station: &Station, base: &Package, target: &Package, dir: &Path) -> Result<Child> {
    // The running program, even if its file was exchanged.
    let program = format!("/proc/{}/exe", std::process::id());
    let mut command = Command::new("nice");
    command
        .args(["-n", "19", program.as_str(), "make-delta", "--base"])
        .arg(station.package_path(&base.file_sha256))
        .arg("--target")
        .arg(station.package_path(&target.file_sha256))
        .arg("--output")
        .arg(dir.join(FILE))
        .args(["--reserve", &MIN_FREE.to_string()]);
    if let Some(signing) = &station.config.deltas {
        command.arg("--signer").arg(&signing.signer);
        command.arg("--sign-command").arg(&signing.sign_command);
    }
    command
        .env("TMPDIR", dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command.spawn().context("cannot start 'nice'")
}

/// Notes the progress until the process ends; returns false if the delta was removed meanwhile, and
/// has it end then.
async fn follow(station: &Station, id: i64, mut child: Child) -> Result<bool> {
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(anyhow!("the process has no output"));
    };
    let limit = station.config.deltas.as_ref();
    let limit = limit.map_or(Duration::MAX, |signing| {
        Duration::from_secs(signing.sign_seconds)
    });
    // It ends when its standard input does: when this station does, too.
    let alive = child.stdin.take();
    let said = tokio::spawn(read(stderr));
    let mut lines = BufReader::new(stdout).lines();
    let mut latest = (String::new(), 0);
    let mut signs_since = None;
    let mut notes = tokio::time::interval(NOTE);
    loop {
        tokio::select! {
            line = lines.next_line() => match line?.as_deref().map(parse) {
                None => break,
                Some(Some(step)) => latest = step,
                Some(None) => {}
            },
            _ = notes.tick() => {
                let (step, percent) = latest.clone();
                let noted = station
                    .store
                    .write(move |w| deltas::step(w, clock::now(), id, &step, percent));
                if !noted.await? {
                    drop(alive);
                    child.wait().await?;
                    return Ok(false);
                }
                let signs = latest.0 == make::SIGN;
                let since = signs.then(|| *signs_since.get_or_insert_with(Instant::now));
                if since.is_some_and(|since| since.elapsed() >= limit) {
                    drop(alive);
                    child.wait().await?;
                    return Err(anyhow!(
                        "deltas.sign_command has not signed within {} seconds (deltas.sign_seconds): \
                         see what it waits for, then ask for the delta again",
                        limit.as_secs()
                    ));
                }
            }
        }
    }
    let status = child.wait().await?;
    // A program that the signing command left behind may hold its end open.
    let said = tokio::time::timeout(LAST_WORDS, said).await;
    let said = said.ok().and_then(Result::ok).unwrap_or_default();
    match status.success() {
        true => Ok(true),
        false if said.is_empty() => Err(anyhow!("its process ended with {status}")),
        false => Err(anyhow!("{said}")),
    }
}

/// Parses a line of the process: the step, and its per cent.
fn parse(line: &str) -> Option<(String, u8)> {
    let mut words = line.split(' ');
    let step = words.next()?.to_owned();
    let (done, total): (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(0);
    Some((step, u8::try_from(percent).unwrap_or(100).min(100)))
}

/// Returns the end of what the process says of its failure. All of it is read, as a program dies
/// whose pipe is closed.
async fn read(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut said = Vec::new();
    let mut chunk = [0; MAX_SAID];
    while let Ok(count @ 1..) = stderr.read(&mut chunk).await {
        said.extend_from_slice(chunk.get(..count).unwrap_or_default());
        said.drain(..said.len().saturating_sub(MAX_SAID));
    }
    let said = String::from_utf8_lossy(&said);
    let lines = said
        .lines()
        .map(|line| line.trim_start_matches("dau-station: "));
    lines.collect::<Vec<_>>().join("; ")
}

/// Takes in a signed delta like an upload; puts an unsigned one where operators get it. Returns false
/// if it was removed meanwhile.
async fn keep(station: &Arc<Station>, delta: &Delta, dir: TempDir) -> Result<bool> {
    let path = dir.path().join(FILE);
    if station.config.deltas.is_some() {
        let by = delta.created_by.clone();
        let taken = take_in(station, &by, &path).await;
        taken.map_err(|problem| anyhow!("{}: {}", problem.error, problem.message))?;
        return Ok(true);
    }
    let (id, kept) = (delta.id, station.unsigned_path(delta.id));
    let size = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(&path)?;
        file.sync_all()?;
        std::fs::rename(&path, kept)?;
        file.metadata().map(|metadata| metadata.len())
    });
    let size = size.await?.context("the delta cannot be kept")?;
    let is_wanted = station
        .store
        .write(move |w| deltas::made(w, clock::now(), id, size))
        .await?;
    if !is_wanted {
        let _ = tokio::fs::remove_file(station.unsigned_path(id)).await;
    }
    Ok(is_wanted)
}
