use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use dau_package::make::{self, Compression, DeltaRecipe};

use crate::cli::Delta;
use crate::out;
use crate::progress::Bar;
use crate::sign;

pub fn run(arguments: &Delta) -> Result<ExitCode> {
    let recipe = DeltaRecipe {
        base: arguments.old.clone(),
        target: arguments.new.clone(),
        minimum_recovery: arguments.minimum_recovery.clone(),
        threads: arguments
            .threads
            .map_or(Compression::default().threads, usize::from),
        reserve: 0,
    };
    let signing = match arguments.unsigned {
        true => None,
        false => Some(sign::signing(&arguments.signing, None)?),
    };
    let output = &arguments.output;
    let mut bar = Bar::new();
    let manifest = make::delta(
        &recipe,
        signing.as_ref(),
        output,
        &mut |step, done, total| bar.update(step, done, total),
    )
    .with_context(|| format!("cannot make {}", output.display()))?;
    drop(bar);
    let size = |path| fs::metadata(path).map_or(0, |data| data.len());
    let (delta, whole) = (size(output), size(&arguments.new));
    let per_mille = delta.saturating_mul(1000).checked_div(whole).unwrap_or(0);
    out::line(format_args!(
        "{}: delta to {} {} {}: {delta} bytes, {}.{} % of the whole package",
        output.display(),
        manifest.product,
        manifest.version,
        manifest.kind,
        per_mille / 10,
        per_mille % 10,
    ))?;
    Ok(ExitCode::SUCCESS)
}
