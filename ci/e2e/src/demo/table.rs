//! The demo's findings as a table, and a check of the promises.

use std::fmt;
use std::time::Duration;

use anyhow::{bail, Result};

use super::show::bytes;
use crate::timeline;
use dau_rig::places::{NEW, OLD};
use dau_rig::station::JobView;

/// The running system, as the station knows it.
#[derive(Debug)]
pub struct Side {
    pub version: String,
    pub kernel: String,
}

/// All findings of the demo.
#[derive(Debug)]
pub struct Facts {
    pub before: Side,
    pub after: Side,
    /// Bytes sent to the terminal, TLS included.
    pub bytes: u64,
    /// Size of the package, bytes.
    pub package: u64,
    /// The longest time without an answer from the application.
    pub out_of_service: Duration,
    /// Where that time went.
    pub steps: Vec<timeline::Step>,
    /// Result of the check of the disk.
    pub on_disk: Result<(), String>,
    pub view: JobView,
}

impl Facts {
    fn detail(&self, key: &str) -> &str {
        self.view.details[key].as_str().unwrap_or("unknown")
    }

    /// Fails with a list of everything that is wrong.
    pub fn check(&self) -> Result<()> {
        let mut wrong = Vec::new();
        let mut expect = |right: bool, what: &str| {
            if !right {
                wrong.push(what.to_owned());
            }
        };
        expect(
            self.view.outcome.as_deref() == Some("success"),
            "the result is no success",
        );
        expect(
            self.before.version == OLD && self.after.version == NEW,
            "the OS version did not change as ordered",
        );
        expect(
            self.before.kernel != self.after.kernel,
            "the kernel did not change",
        );
        let digest = self.detail("parametersBefore");
        expect(
            digest.len() == 64 && digest == self.detail("parametersAfter"),
            "the parameters' digest changed",
        );
        expect(
            self.bytes >= self.package && self.bytes < self.package + self.package / 20,
            "more was downloaded than the package",
        );
        if let Err(error) = &self.on_disk {
            wrong.push(format!("on the disk: {error}"));
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => bail!("the demo failed: {}", wrong.join("; ")),
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row =
            |name: &str, before: &str, after: &str| writeln!(f, "{name:24} {before:34} {after}");
        row("", "before", "after")?;
        row("OS version", &self.before.version, &self.after.version)?;
        row("kernel", &self.before.kernel, &self.after.kernel)?;
        let short = |digest: &str| digest.get(..32).unwrap_or(digest).to_owned();
        row(
            "parameters (SHA-256)",
            &short(self.detail("parametersBefore")),
            &short(self.detail("parametersAfter")),
        )?;
        writeln!(f)?;
        let mut row = |name: &str, value: String| writeln!(f, "{name:24} {value}");
        row(
            "downloaded",
            format!(
                "{} of a package of {}",
                bytes(self.bytes),
                bytes(self.package)
            ),
        )?;
        for stage in self.view.details["stages"]
            .as_array()
            .unwrap_or(&Vec::new())
        {
            let name = stage["name"].as_str().unwrap_or_default();
            let moved = stage["bytes"]
                .as_u64()
                .map(|count| format!("  {}", bytes(count)));
            let seconds = stage["seconds"].as_f64().unwrap_or_default();
            row(
                &format!("  {name}"),
                format!("{seconds:6.1} s{}", moved.unwrap_or_default()),
            )?;
        }
        row(
            "out of service",
            format!("{:6.1} s", self.out_of_service.as_secs_f64()),
        )?;
        row(
            "terminal's disk",
            match &self.on_disk {
                Ok(()) => "boot state, kernel, OS and parameters are as they must be".to_owned(),
                Err(error) => error.clone(),
            },
        )?;
        row(
            "result",
            format!(
                "{}: {}",
                self.view.outcome.as_deref().unwrap_or("none"),
                self.view.message
            ),
        )?;
        writeln!(
            f,
            "\nOut of service, from the last answer of the old OS to the first of the new one:"
        )?;
        for row in timeline::table(&self.steps) {
            writeln!(f, "  {row}")?;
        }
        Ok(())
    }
}
