//! Loads the kernel modules listed by the image's builder, in its order.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::kmod::{finit_module, ModuleInitFlags};

/// One module per line, a path or a name, with optional parameters; `#` starts a comment.
const LIST: &str = "/etc/dau/modules";
const FOLDER: &str = "/lib/modules";

/// Loads the listed modules. One that does not load is logged and skipped, as the disk may work
/// without it.
pub fn load_listed() {
    let list = match fs::read_to_string(LIST) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return log::error!("cannot read {LIST}: {error}"),
    };
    for (name, parameters) in parse(&list) {
        let loaded = find(name).and_then(|path| load(&path, parameters));
        match loaded {
            Ok(()) => log::debug!("module {name}"),
            Err(error) => log::warn!("module {name}: {error}"),
        }
    }
}

fn parse(list: &str) -> impl Iterator<Item = (&str, &str)> {
    list.lines()
        .map(|line| line.split_once('#').map_or(line, |(line, _)| line).trim())
        .filter(|line| !line.is_empty())
        .map(|line| match line.split_once(char::is_whitespace) {
            Some((name, parameters)) => (name, parameters.trim()),
            None => (line, ""),
        })
}

fn load(path: &Path, parameters: &str) -> io::Result<()> {
    let parameters = CString::new(parameters)?;
    match finit_module(File::open(path)?, &parameters, flags(path)) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Returns flags that let the kernel decompress a compressed module.
fn flags(path: &Path) -> ModuleInitFlags {
    const COMPRESSED_FILE: i32 = 4;
    match path.extension().is_some_and(|extension| extension != "ko") {
        true => ModuleInitFlags::from_bits_retain(COMPRESSED_FILE as _),
        false => ModuleInitFlags::empty(),
    }
}

/// Returns the file of a module: a path as it is, a name searched below [`FOLDER`].
fn find(name: &str) -> io::Result<PathBuf> {
    if name.starts_with('/') {
        return Ok(PathBuf::from(name));
    }
    if name.contains('/') {
        return Ok(Path::new(FOLDER).join(name));
    }
    find_below(Path::new(FOLDER), name)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("not in {FOLDER}")))
}

fn find_below(folder: &Path, name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if let Some(found) = find_below(&path, name) {
                return Some(found);
            }
        } else if is_module(&entry.file_name().to_string_lossy(), name) {
            return Some(path);
        }
    }
    None
}

/// Compares a file with a module's name, in which `-` and `_` are the same to the kernel.
fn is_module(file: &str, name: &str) -> bool {
    let plain = |text: &str| text.replace('-', "_");
    let (file, name) = (plain(file), plain(name.trim_end_matches(".ko")));
    ["ko", "ko.xz", "ko.gz", "ko.zst"]
        .iter()
        .any(|ending| file == format!("{name}.{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_names_parameters_and_remarks() {
        let list = "# disk\nvirtio_blk\n\n softdog soft_margin=60  nowayout=1 # seconds\n";
        let expected = [
            ("virtio_blk", ""),
            ("softdog", "soft_margin=60  nowayout=1"),
        ];
        assert_eq!(parse(list).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_module_is_found_wherever_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("6.12/kernel/drivers");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("virtio-blk.ko.xz"), "").unwrap();
        fs::write(folder.join("virtio-blk-old.ko"), "").unwrap();
        assert_eq!(
            find_below(dir.path(), "virtio_blk"),
            Some(folder.join("virtio-blk.ko.xz"))
        );
        assert_eq!(find_below(dir.path(), "virtio"), None);
    }
}
