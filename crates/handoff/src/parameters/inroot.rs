//! Resolves paths of a system whose root is mounted somewhere, following links as that system
//! would.
//!
//! This is done step by step and not with openat2(2), which many terminals' kernels (before 5.6)
//! lack. Nobody else writes to the root that RecoveryOS mounted, so nothing moves between the
//! steps.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

/// Most links in one path, the same as Linux's own limit.
const MAX_LINKS: usize = 40;

/// The handling of a missing folder in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The path does not exist.
    Fail,
    /// It is created, owned by the caller, mode 0755.
    Create,
}

/// Returns the real location of the entry at `path` (absolute, on `root`): all links in its folder
/// are resolved, but not its name.
///
/// The result always starts with `root`.
pub(super) fn locate(root: &Path, path: &Path, missing: Missing) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(Errno::EINVAL)?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok(folder(root, parent, missing)?.join(name))
}

/// Returns the real folder at `path` (absolute, on `root`), resolving its name too.
pub(super) fn folder(root: &Path, path: &Path, missing: Missing) -> io::Result<PathBuf> {
    let mut steps = Vec::new();
    push_steps(&mut steps, path);
    let mut real = PathBuf::new();
    let mut links = 0_usize;
    while let Some(step) = steps.pop() {
        if step == ".." {
            real.pop();
            continue;
        }
        let here = root.join(&real).join(&step);
        match fs::symlink_metadata(&here) {
            Ok(metadata) if metadata.is_dir() => real.push(step),
            Ok(metadata) if metadata.is_symlink() => {
                links = links.saturating_add(1);
                if links > MAX_LINKS {
                    return Err(Errno::ELOOP.into());
                }
                let target = fs::read_link(&here)?;
                if target.is_absolute() {
                    real.clear();
                }
                push_steps(&mut steps, &target);
            }
            Ok(_) => return Err(Errno::ENOTDIR.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && missing == Missing::Create => {
                fs::DirBuilder::new().mode(0o755).create(&here)?;
                real.push(step);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(root.join(real))
}

/// Pushes the steps of `path` onto a stack, the first one on top.
fn push_steps(steps: &mut Vec<OsString>, path: &Path) {
    steps.extend(path.components().rev().filter_map(|part| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        _ => None,
    }));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_within_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("data/app")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(root.join("etc/file"), "").unwrap();
        for (target, link) in [
            ("/data/app", "absolute"),
            ("../data/app", "relative"),
            ("../../../../data/app", "above"),
            ("absolute", "chain"),
            ("loop", "loop"),
        ] {
            symlink(target, root.join("etc").join(link)).unwrap();
        }
        symlink(dir.path().join("outside"), root.join("etc/out")).unwrap();
        for (path, expected) in [
            ("/etc/absolute/x", Ok("data/app/x")),
            ("/etc/relative/x", Ok("data/app/x")),
            ("/etc/above/x", Ok("data/app/x")),
            ("/etc/chain/x", Ok("data/app/x")),
            ("/etc/chain", Ok("etc/chain")),
            ("/etc/loop/x", Err(Errno::ELOOP)),
            ("/etc/file/x", Err(Errno::ENOTDIR)),
            ("/etc/out/x", Err(Errno::ENOENT)),
            ("/etc/none/x", Err(Errno::ENOENT)),
        ] {
            let found = locate(&root, Path::new(path), Missing::Fail)
                .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap()));
            assert_eq!(found, expected.map(|path| root.join(path)), "{path}");
        }
        let created = locate(&root, Path::new("/etc/out/x"), Missing::Create).unwrap();
        assert!(created.starts_with(&root), "{}", created.display());
        assert!(created.parent().unwrap().is_dir());
    }
}
