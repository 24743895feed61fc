//! Parameter backups.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Result;
use dau_handoff::parameters::{self, ParameterSet, LISTS_DIR};
use tar::EntryType::{self, Char, Link, Regular, Symlink};

use crate::seed;

pub fn seeds(work: &Path) -> Result<()> {
    let root = work.join("root");
    fs::create_dir_all(root.join("etc/dau/parameters.d"))?;
    fs::create_dir_all(root.join("etc/app/sub"))?;
    fs::write(
        root.join("etc/dau/parameters.d/x.list"),
        "/etc/app\n/etc/point.csv\n",
    )?;
    fs::write(root.join("etc/app/settings.toml"), "station_address = 47\n")?;
    fs::hard_link(
        root.join("etc/app/settings.toml"),
        root.join("etc/app/sub/same"),
    )?;
    symlink("settings.toml", root.join("etc/app/link"))?;
    fs::write(root.join("etc/point.csv"), "1,2\n")?;
    let set = ParameterSet::load(&root, Path::new(LISTS_DIR))?;
    let tar = work.join("17.tar");
    parameters::backup(&root, &set, &tar, &work.join("17.tar.sha256"))?;
    let bytes = fs::read(&tar)?;
    seed("parameters", "backup", &bytes)?;
    seed("parameters", "torn", &bytes[..bytes.len() - 700])?;
    for (name, path, kind, target) in [
        ("attack-path-leads-out", "../outside/witness", Regular, ""),
        ("attack-through-a-link", "etc/out/witness", Regular, ""),
        ("attack-over-a-link", "etc/app/file", Regular, ""),
        (
            "attack-link-out",
            "etc/app/file",
            Symlink,
            "../../../outside/witness",
        ),
        (
            "attack-other-name-outside",
            "etc/app/file",
            Link,
            "../outside/witness",
        ),
        ("attack-device", "etc/app/file", Char, ""),
    ] {
        seed("parameters", name, archive(path, kind, target)?)?;
    }
    Ok(())
}

/// Returns an archive of one entry, with the time that readers demand.
fn archive(path: &str, kind: EntryType, target: &str) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let record = b"30 mtime=1769860800.000000000\n";
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_size(record.len() as u64);
    header.set_cksum();
    archive.append(&header, &record[..])?;
    let content: &[u8] = match kind {
        Regular => b"overwritten",
        _ => b"",
    };
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    // Written directly, as the tar crate refuses the names that attacks need.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    archive.append(&header, content)?;
    Ok(archive.into_inner()?)
}
