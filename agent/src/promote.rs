//! After a confirmation: the candidate becomes what is kept for a rollback. Each step may be cut
//! short and done again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use dau_handoff::Layout;
use dau_model::Kind;
use dau_package::{form_of, Form, Head};
use dau_system::durable;

/// The packages on mnt.
#[derive(Debug, Clone, Copy)]
struct Packages {
    candidate: bool,
    /// `installed.dau` is there and brings a kernel.
    installed_has_kernel: bool,
    installed_kernel: bool,
}

/// One step; files are those of [`Layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// `installed.dau` is kept for its kernel.
    KeepKernel,
    /// The candidate becomes `installed.dau`.
    Install,
    /// The candidate becomes `installed-kernel.dau`.
    InstallKernel,
    /// `installed-kernel.dau` is out of date.
    DropKernel,
}

/// Returns the steps that are left after a confirmed job of this kind.
fn steps(kind: Kind, found: Packages) -> Vec<Step> {
    let mut steps = Vec::new();
    match kind {
        Kind::Kernel if found.candidate => steps.push(Step::InstallKernel),
        Kind::Rootfs if found.candidate => {
            if found.installed_has_kernel && !found.installed_kernel {
                steps.push(Step::KeepKernel);
            }
            steps.push(Step::Install);
        }
        Kind::Full => {
            if found.candidate {
                steps.push(Step::Install);
            }
            if found.installed_kernel {
                steps.push(Step::DropKernel);
            }
        }
        Kind::Kernel | Kind::Rootfs | Kind::Recovery => {}
    }
    steps
}

/// Promotes the candidate of a confirmed job of this kind.
pub fn promote(layout: &Layout, kind: Kind) -> io::Result<()> {
    let found = Packages {
        candidate: layout.candidate().try_exists()?,
        installed_has_kernel: has_kernel(&layout.installed()),
        installed_kernel: layout.installed_kernel().try_exists()?,
    };
    for step in steps(kind, found) {
        log::info!("packages: {step:?}");
        match step {
            Step::KeepKernel => durable::rename(&layout.installed(), &layout.installed_kernel())?,
            Step::Install => durable::rename(&layout.candidate(), &layout.installed())?,
            Step::InstallKernel => {
                durable::rename(&layout.candidate(), &layout.installed_kernel())?;
            }
            Step::DropKernel => durable::remove(&layout.installed_kernel())?,
        }
    }
    Ok(())
}

/// An unreadable package has none: RecoveryOS could not use it either.
fn has_kernel(path: &Path) -> bool {
    head(path).is_some_and(|head| head.manifest.kind.has_kernel())
}

/// Returns whether the package brings a RecoveryOS.
pub fn brings_recovery(path: &Path) -> bool {
    head(path).is_some_and(|head| head.manifest.recovery().is_some())
}

/// Returns SHA-256 of the manifests of the packages kept for a rollback, as they say themselves.
pub fn kept(layout: &Layout) -> Vec<String> {
    let paths = [layout.installed(), layout.installed_kernel()];
    let heads = paths.iter().filter_map(|path| head(path));
    heads.map(|head| head.manifest_sha256()).collect()
}

/// Returns the package kept for a rollback whose manifest has this SHA-256.
pub fn find(layout: &Layout, manifest_sha256: &str) -> Option<PathBuf> {
    let paths = [layout.installed(), layout.installed_kernel()];
    let is_it = |path: &PathBuf| {
        let head = head(path);
        head.is_some_and(|head| head.manifest_sha256() == manifest_sha256)
    };
    paths.into_iter().find(is_it)
}

/// Tells whether a package kept for a rollback was rebuilt of a delta.
pub fn keeps_rebuilt(layout: &Layout) -> bool {
    let is_rebuilt = |path: &PathBuf| {
        let form = File::open(path).ok().and_then(|file| form_of(file).ok());
        form == Some(Form::Rebuilt)
    };
    let mut paths = [layout.installed(), layout.installed_kernel()].into_iter();
    paths.any(|path| is_rebuilt(&path))
}

fn head(path: &Path) -> Option<Head> {
    Head::read_from(File::open(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The packages on mnt by what they bring: installed, installed-kernel, candidate.
    type World = [Option<&'static str>; 3];

    fn found(world: World) -> Packages {
        Packages {
            candidate: world[2].is_some(),
            installed_has_kernel: world[0].is_some_and(|name| name.contains("kernel")),
            installed_kernel: world[1].is_some(),
        }
    }

    fn apply(world: World, step: Step) -> World {
        let [installed, kernel, candidate] = world;
        match step {
            Step::KeepKernel => [None, installed, candidate],
            Step::Install => [candidate, kernel, None],
            Step::InstallKernel => [installed, candidate, None],
            Step::DropKernel => [installed, None, candidate],
        }
    }

    #[test]
    fn kernel_and_rootfs_that_run_stay_recoverable_wherever_power_goes() {
        let full = Some("old kernel+rootfs");
        let cases: [(Kind, World, World); 7] = [
            (
                Kind::Full,
                [full, None, Some("new")],
                [Some("new"), None, None],
            ),
            (
                Kind::Full,
                [full, Some("k"), Some("new")],
                [Some("new"), None, None],
            ),
            (
                Kind::Rootfs,
                [full, None, Some("new")],
                [Some("new"), full, None],
            ),
            (
                Kind::Rootfs,
                [full, Some("k"), Some("new")],
                [Some("new"), Some("k"), None],
            ),
            (
                Kind::Rootfs,
                [Some("rootfs"), Some("k"), Some("new")],
                [Some("new"), Some("k"), None],
            ),
            (
                Kind::Kernel,
                [full, None, Some("new")],
                [full, Some("new"), None],
            ),
            (
                Kind::Kernel,
                [full, Some("k"), Some("new")],
                [full, Some("new"), None],
            ),
        ];
        for (kind, before, after) in cases {
            // Power goes after each number of steps; the rest is decided anew.
            for cut in 0..4 {
                let first = steps(kind, found(before));
                let world = first.into_iter().take(cut).fold(before, apply);
                let world = steps(kind, found(world)).into_iter().fold(world, apply);
                assert_eq!(world, after, "{kind} {before:?}, cut after {cut} steps");
                assert_eq!(steps(kind, found(world)), [], "{kind} {before:?}");
            }
        }
    }

    #[test]
    fn files_move_and_a_damaged_package_does_not_hinder() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        std::fs::write(layout.installed(), "damaged").unwrap();
        std::fs::write(layout.candidate(), "new").unwrap();
        promote(&layout, Kind::Rootfs).unwrap();
        assert_eq!(std::fs::read(layout.installed()).unwrap(), b"new");
        assert!(!layout.candidate().exists() && !layout.installed_kernel().exists());
    }
}
