//! Makes the seeds: genuine ones with the project's own writers, and attacks; one module per
//! target. In ci/, `cargo run -p dau-fuzz --example seeds` replaces the seeds of the names below
//! and keeps those that the fuzzer found. Every run makes new keys and keeps only the root's
//! certificate, so packages differ from run to run, as do the times in a backup.

use std::fs;

use anyhow::{Context, Result};

mod boot_state;
mod delta;
mod fit;
mod frames;
mod images;
mod job;
mod messages;
mod package;
mod parameters;
mod settings;
mod texts;

fn main() -> Result<()> {
    let work = tempfile::tempdir()?;
    let full = package::seeds(work.path())?;
    frames::seeds(&full)?;
    delta::seeds(&full)?;
    boot_state::seeds()?;
    fit::seeds()?;
    job::seeds()?;
    messages::seeds()?;
    settings::seeds()?;
    parameters::seeds(work.path())?;
    texts::seeds()
}

/// Writes a seed.
fn seed(target: &str, name: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
    let folder = dau_fuzz::folder().join("seeds").join(target);
    fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
