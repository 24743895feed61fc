//! Has a delta made, and follows it.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{bail, Result};
use indicatif::ProgressBar;
use serde::Serialize;

use super::client::Client;
use super::out::{cell, escaped};
use super::{order, show};
use crate::store::deltas::Delta;
use crate::store::packages::Package;
use crate::web::deltas::NewDelta;

/// Time between two questions.
const POLL: Duration = Duration::from_millis(500);

/// What became of it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Made {
    /// The station signed it.
    Package(Package),
    /// It waits for its signature in this file.
    Unsigned {
        /// The delta.
        delta: Delta,
        /// The file.
        file: PathBuf,
    },
}

/// Asks for a delta and waits for it.
pub fn run(client: &Client, base: &str, target: &str, output: Option<&Path>) -> Result<Made> {
    let (base, target) = (
        order::find(client, base, None)?,
        order::find(client, target, None)?,
    );
    let asked = client.post(
        &format!("packages/{target}/deltas"),
        &NewDelta { base },
        None,
    );
    let mut delta: Delta = asked?;
    let bar = ProgressBar::new(100).with_style(show::count_style());
    while matches!(delta.state.as_str(), "waiting" | "making") {
        bar.set_message(format!(
            "{:12}",
            cell(match delta.message.as_str() {
                "" => &delta.state,
                step => step,
            })
        ));
        bar.set_position(delta.progress.into());
        sleep(POLL);
        delta = client.get(&format!("deltas/{}", delta.id), &[])?;
    }
    bar.finish_and_clear();
    match (delta.state.as_str(), delta.package) {
        ("signed", Some(id)) => Ok(Made::Package(client.get(&format!("packages/{id}"), &[])?)),
        ("unsigned", _) => {
            let file = output.map_or_else(|| name(&delta), Path::to_owned);
            client.download(&format!("deltas/{}/file", delta.id), &file)?;
            Ok(Made::Unsigned { delta, file })
        }
        _ => bail!("delta {}: {}", delta.id, escaped(&delta.message)),
    }
}

fn name(delta: &Delta) -> PathBuf {
    format!("{}-to-{}.delta.dau", delta.base, delta.target).into()
}

/// Formats what became of it.
pub fn shown(made: &Made) -> String {
    match made {
        Made::Package(package) => show::package(package),
        Made::Unsigned { file, .. } => {
            let file = escaped(&file.display().to_string());
            format!(
                "{file}: made, not signed; 'dau-packager sign … {file}', then 'dau-station upload {file}'\n"
            )
        }
    }
}
