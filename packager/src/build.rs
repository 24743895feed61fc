use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result};
use dau_package::make::{self, Compression, Recipe};
use time::format_description::well_known::Rfc3339;
use time::OffsetDateTime;

use crate::cli::Build;
use crate::out;
use crate::progress::Bar;
use crate::{rootfs, sign};

/// Variable with the time of a reproducible build, in seconds since 1970 (reproducible-builds.org).
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

pub fn run(arguments: &Build) -> Result<ExitCode> {
    if let Some(rootfs) = &arguments.rootfs {
        rootfs::check(rootfs, arguments.rootfs_room)?;
    }
    let default = Compression::default();
    let recipe = Recipe {
        product: arguments.product.clone(),
        version: arguments.os_version.clone(),
        created: created(
            arguments.created.as_deref(),
            env::var(SOURCE_DATE_EPOCH).ok(),
        )?,
        rollback_index: arguments.rollback_index,
        kernel: arguments.kernel.clone(),
        rootfs: arguments.rootfs.clone(),
        sbom: arguments.sbom.clone(),
        recovery: arguments.recovery.clone(),
        minimum_recovery: arguments.minimum_recovery.clone(),
        compression: Compression {
            level: arguments.level,
            threads: arguments.threads.map_or(default.threads, usize::from),
        },
    };
    let signing = match arguments.unsigned {
        true => None,
        false => Some(sign::signing(&arguments.signing, None)?),
    };
    let mut bar = Bar::new();
    let manifest = make::build(
        &recipe,
        signing.as_ref(),
        &arguments.output,
        &mut |step, done, total| bar.update(step, done, total),
    )
    .with_context(|| format!("cannot build {}", arguments.output.display()))?;
    drop(bar);
    out::line(format_args!(
        "{}: {} {} {} of {}",
        arguments.output.display(),
        manifest.product,
        manifest.version,
        manifest.kind,
        manifest.created
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the time of the package: the given one, else the build system's, else now.
fn created(asked: Option<&str>, epoch: Option<String>) -> Result<i64> {
    if let Some(text) = asked {
        let time = OffsetDateTime::parse(text, &Rfc3339)
            .with_context(|| format!("--created {text:?} is not an RFC 3339 time"))?;
        return Ok(time.unix_timestamp());
    }
    match epoch {
        Some(text) => text
            .parse()
            .with_context(|| format!("{SOURCE_DATE_EPOCH}={text:?} is not a number of seconds")),
        None => Ok(OffsetDateTime::now_utc().unix_timestamp()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_asked_for_goes_before_the_build_systems() {
        let epoch = || Some("1700000000".to_owned());
        assert_eq!(
            created(Some("2026-01-31T12:00:00+08:00"), epoch()).unwrap(),
            1_769_832_000
        );
        assert_eq!(created(None, epoch()).unwrap(), 1_700_000_000);
        assert!(created(None, None).unwrap() > 1_700_000_000);
    }

    #[test]
    fn a_time_that_is_none_is_refused_by_name() {
        let error = created(None, Some("yesterday".into())).unwrap_err();
        assert!(error.to_string().contains(SOURCE_DATE_EPOCH), "{error}");
        let error = created(Some("yesterday"), None).unwrap_err();
        assert!(error.to_string().contains("--created"), "{error}");
    }
}
