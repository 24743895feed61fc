use std::process::ExitCode;

use anyhow::{Context, Result};
use dau_package::make;

use crate::cli::KeepPlaces;
use crate::out;
use crate::progress::Bar;

pub fn run(arguments: &KeepPlaces) -> Result<ExitCode> {
    let output = arguments.output.as_ref().unwrap_or(&arguments.rootfs);
    let mut bar = Bar::new();
    let mut progress = |step, done, total| bar.update(step, done, total);
    let places = make::keep_places(&arguments.old, &arguments.rootfs, output, &mut progress)
        .with_context(|| format!("cannot lay out {}", arguments.rootfs.display()))?;
    drop(bar);
    out::line(format_args!(
        "{}: {} of {} blocks differ from {} ({} before)",
        output.display(),
        places.after,
        places.blocks,
        arguments.old.display(),
        places.before,
    ))?;
    Ok(ExitCode::SUCCESS)
}
