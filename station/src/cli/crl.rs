//! The list of certificates that the broker refuses, made where the authority's key is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, ensure, Context, Result};
use openssl::nid::Nid;
use openssl::x509::X509;

use super::client::Client;
use super::{out, Access};

/// Where keys and certificates are.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `dau-packager keygen` made: `tls/ca.{pem,key}` and `tls/terminals/*.pem`
    #[arg(long, value_name = "DIR")]
    pki: PathBuf,
    /// The list, PEM: `crlfile` of mosquitto
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Days for which the broker takes the list; after these, it refuses everybody
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    #[command(flatten)]
    access: Access,
}

/// Writes the list of the certificates of all terminals that are blocked or decommissioned.
pub fn run(args: &Args) -> Result<()> {
    let client = Client::new(&args.access)?;
    let which = "life in (blocked, decommissioned)".to_owned();
    let barred = super::terminals(&client, &[("filter", Some(which))])?;
    let barred: BTreeSet<String> = barred.into_iter().map(|terminal| terminal.id).collect();
    let found = certificates(&args.pki.join("tls/terminals"), &barred)?;
    make(args, &found)?;
    let named: BTreeSet<&String> = found.iter().map(|(id, _)| id).collect();
    let without: Vec<&str> = barred
        .iter()
        .filter(|id| !named.contains(id))
        .map(String::as_str)
        .collect();
    if !without.is_empty() {
        out::note(&format!(
            "not in the list, as {} has no certificate of theirs: {}",
            args.pki.join("tls/terminals").display(),
            without.join(", ")
        ));
    }
    out::text(&format!(
        "{} certificates of {} terminals are refused, once mosquitto has read {} (SIGHUP)\n",
        found.len(),
        named.len(),
        args.output.display()
    ))
}

/// Returns the certificates in a folder whose common name is one of these.
fn certificates(folder: &Path, wanted: &BTreeSet<String>) -> Result<Vec<(String, X509)>> {
    let mut found = Vec::new();
    let unreadable = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        let pem = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let certificate = X509::from_pem(&pem)
            .with_context(|| format!("{} is no certificate", path.display()))?;
        let name = certificate
            .subject_name()
            .entries_by_nid(Nid::COMMONNAME)
            .next();
        let name = name.and_then(|name| name.data().to_string().ok());
        if let Some(name) = name.filter(|name| wanted.contains(name)) {
            found.push((name, certificate));
        }
    }
    Ok(found)
}

/// Has openssl make the list, from the index that its small authority keeps.
fn make(args: &Args, refused: &[(String, X509)]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let digits: String = crate::clock::text(crate::clock::now())
        .chars()
        .filter(char::is_ascii_digit)
        .skip(2)
        .collect();
    let today = digits + "Z";
    let mut index = String::new();
    for (name, certificate) in refused {
        let serial = certificate.serial_number().to_bn()?.to_hex_str()?;
        index += &format!("R\t991231235959Z\t{today}\t{serial}\tunknown\t/CN={name}\n");
    }
    let (index_file, config) = (folder.path().join("index"), folder.path().join("config"));
    fs::write(&index_file, index)?;
    let text = "[ca]\ndefault_ca = list\n[list]\ndatabase = ${ENV::INDEX}\ndefault_md = sha256\n";
    fs::write(&config, text)?;
    let list = folder.path().join("list.pem");
    let mut command = Command::new("openssl");
    command.args(["ca", "-gencrl", "-config"]).arg(&config);
    command.arg("-cert").arg(args.pki.join("tls/ca.pem"));
    command.arg("-keyfile").arg(args.pki.join("tls/ca.key"));
    command
        .args(["-crldays", &args.days.to_string(), "-out"])
        .arg(&list);
    let done = command
        .env("INDEX", &index_file)
        .output()
        .context("openssl cannot be started: install it")?;
    if !done.status.success() {
        bail!(
            "openssl made no list: {}",
            out::escaped(&String::from_utf8_lossy(&done.stderr))
        );
    }
    let list = fs::read(&list)?;
    ensure!(!list.is_empty(), "openssl made an empty list");
    // mosquitto must not read half of it.
    let folder = args
        .output
        .parent()
        .filter(|path| !path.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    std::io::Write::write_all(&mut file, &list)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable)?;
    file.persist(&args.output)
        .with_context(|| format!("cannot write {}", args.output.display()))?;
    Ok(())
}
