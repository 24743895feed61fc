use std::process::ExitCode;

use anyhow::{bail, Context, Result};
use dau_package::make::{Pki, PkiOptions};

use crate::cli::{Keygen, KeygenMore};
use crate::out;

pub fn run(arguments: &Keygen) -> Result<ExitCode> {
    if let Some(KeygenMore::Terminal { pki, id }) = &arguments.more {
        let pki = Pki::open(pki)?;
        pki.add_terminal(id)
            .with_context(|| format!("cannot make the certificate of terminal {id}"))?;
        let (certificate, key) = pki.tls_identity(&format!("terminals/{id}"));
        out::line(format_args!("{}\n{}", certificate.display(), key.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(dir) = &arguments.out else {
        bail!("name a folder with --out");
    };
    let mut options = PkiOptions {
        algorithm: arguments.algorithm.into(),
        terminals: arguments.terminal.clone(),
        ..PkiOptions::default()
    };
    if !arguments.station_name.is_empty() {
        options.station_names.clone_from(&arguments.station_name);
    }
    let pki = Pki::create(dir, &options).context("cannot make the PKI")?;
    out::line(format_args!(
        "keyring         {}\nsigner's key    {}\nsigner's chain  {}\nTLS CA          {}",
        pki.keyring().display(),
        pki.signer_key().display(),
        pki.signer_chain().display(),
        pki.tls_ca().display(),
    ))?;
    Ok(ExitCode::SUCCESS)
}
