//! Figures, and the sizes of files.

use anyhow::{Context, Result};
use dau_rig::hostile;
use dau_rig::places::{repository, Places, NEW};
use dau_rig::process::{run, tool};
use serde::Serialize;

/// A measured figure.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) value: f64,
    /// Upper limit; `None`: for comparison only.
    pub(super) limit: Option<f64>,
}

pub(super) fn print(figures: &[Figure]) {
    println!("{:58} {:>10} {:>10}", "", "measured", "limit");
    for figure in figures {
        let limit = figure
            .limit
            .map_or(String::new(), |limit| format!("{limit} {}", figure.unit));
        let value = format!("{:.2} {}", figure.value, figure.unit);
        println!("{:58} {value:>10} {limit:>10}", figure.name);
    }
}

/// Returns the sizes of the reference builder's outputs; of other builders' images, only the sizes
/// found in them.
pub(super) fn sizes(places: &Places) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let programs = repository()
        .join("build/reference")
        .join(places.product())
        .join("bin");
    for (program, name, limit) in [
        ("dau-agent", "size of dau-agent, stripped", Some(2.0)),
        ("dau-recovery", "size of dau-recovery, stripped", None),
    ] {
        if let Ok(metadata) = std::fs::metadata(programs.join(program)) {
            let value = metadata.len() as f64 / f64::from(1 << 20);
            figures.push(Figure {
                name,
                unit: "MiB",
                value,
                limit,
            });
        }
    }
    let folder = tempfile::tempdir()?;
    let recovery = folder.path().join("recovery.itb");
    let package = places.package(NEW, "recovery");
    std::fs::write(&recovery, hostile::payload(&package, "recovery.itb")?)?;
    let listing = run(tool("dumpimage").arg("-l").arg(&recovery))?;
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let initramfs = listing
        .split("(initramfs)")
        .nth(1)
        .and_then(|rest| rest.split("Data Size:").nth(1));
    let bytes =
        initramfs.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<f64>().ok());
    figures.push(Figure {
        name: "RecoveryOS's initramfs, compressed",
        unit: "MiB",
        value: bytes.context("recovery.itb has no initramfs")? / f64::from(1 << 20),
        limit: Some(8.0),
    });
    Ok(figures)
}
