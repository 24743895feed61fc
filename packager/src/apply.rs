use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use dau_model::Reason;
use dau_package::delta::{Delta, Rebuild, RebuildError};
use dau_package::make::Step;
use dau_package::{Keyring, PackageError};

use crate::cli::Apply;
use crate::out;
use crate::progress::Bar;
use crate::REFUSED;

pub fn run(arguments: &Apply) -> Result<ExitCode> {
    let keyring = Keyring::load(&arguments.keyring)?;
    let delta = match Delta::verify(open(&arguments.delta)?, &keyring, &mut |_, _| Ok(())) {
        Ok(delta) => delta,
        Err(error) => return refused(error, &arguments.delta),
    };
    let base = open(&arguments.old)?;
    // What is at its place, perhaps the base itself, is replaced by a whole package only.
    let folder = match arguments.output.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let temporary = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder)
        .with_context(|| format!("cannot write to {}", folder.display()))?;
    let output = temporary.as_file();
    if let Err(error) = rebuild(&delta, &base, output) {
        return match error.is_refusal() {
            true => refuse(
                &Reason::new(error.word(), error.to_string()),
                &arguments.delta,
            ),
            false => Err(error.into()),
        };
    }
    let mut bar = Bar::new();
    let verified = dau_package::verify_kept(output, &keyring, &mut |done, total| {
        bar.update(Step::Verify, done, total);
        Ok(())
    });
    drop(bar);
    match verified {
        Ok(_) => output.sync_all()?,
        Err(error) => return refused(error, &arguments.output),
    }
    temporary
        .persist(&arguments.output)
        .with_context(|| format!("cannot write {}", arguments.output.display()))?;
    let manifest = &delta.target().manifest;
    out::line(format_args!(
        "{}: {} {} {}",
        arguments.output.display(),
        manifest.product,
        manifest.version,
        manifest.kind
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn rebuild(delta: &Delta, base: &File, output: &File) -> Result<(), RebuildError> {
    let mut bar = Bar::new();
    let mut rebuild = Rebuild::new(delta, base, output)?;
    while rebuild.step(&mut || Ok(()))? {
        bar.update(Step::Apply, rebuild.done(), rebuild.total());
    }
    rebuild.finish()
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open {}", path.display()))
}

fn refused(error: PackageError, path: &Path) -> Result<ExitCode> {
    match error.is_refusal() {
        true => refuse(&error.reason(), path),
        false => Err(error).with_context(|| format!("cannot check {}", path.display())),
    }
}

fn refuse(reason: &Reason, path: &Path) -> Result<ExitCode> {
    out::line(format_args!("{}: refused: {reason}", path.display()))?;
    Ok(ExitCode::from(REFUSED))
}
