//! The operations of a delta. Input: its payload `images.delta`, for a delta from the genuine full
//! package to itself. Deltas are signed, but the signer may have been deceived.

use std::fs::File;
use std::sync::LazyLock;

use dau_package::delta::{Rebuild, RebuildError};
use dau_package::{verify_kept, Form, Head, Keyring, PackageError};

use crate::file::InMemory;
use crate::memory;

/// A frame of the base of 4 MiB, a piece, three windows, and zstd's tables.
const MEMORY: usize = 9 << 20;

/// Base and target.
struct Package {
    file: InMemory,
    head: Head,
    head_bytes: Vec<u8>,
    keyring: Keyring,
}

static PACKAGE: LazyLock<Package> = LazyLock::new(|| {
    let folder = crate::folder();
    let bytes = std::fs::read(folder.join("seeds/package/genuine-full")).expect("there is one");
    let head = Head::read_from(bytes.as_slice()).expect("it is a package");
    Package {
        file: InMemory::new(&bytes),
        head_bytes: bytes[..head.body_offset as usize].to_vec(),
        head,
        keyring: Keyring::load(&folder.join("keyring")).expect("the keyring is whole"),
    }
});

pub fn check(data: &[u8]) {
    rebuilds(data);
}

/// Checks it, and tells whether the input makes the target.
pub fn rebuilds(data: &[u8]) -> bool {
    let package = &*PACKAGE;
    let delta = InMemory::new(data);
    let output = InMemory::new(&[]);
    let rebuilt = memory::within(MEMORY, || {
        rebuild(package, delta.file(), data.len(), output.file())
    });
    match rebuilt {
        Ok(()) => judge(package, output.file()),
        Err(error) => {
            assert!(error.is_refusal(), "it would be tried again: {error}");
            false
        }
    }
}

fn rebuild(package: &Package, delta: &File, len: usize, output: &File) -> Result<(), RebuildError> {
    let mut rebuild = Rebuild::unsigned(
        (delta, 0, len as u64),
        &package.head.manifest_sha256(),
        (&package.head.manifest, &package.head_bytes),
        package.file.file(),
        output,
    )?;
    let mut done = 0;
    while rebuild.step(&mut || Ok(()))? {
        assert!(rebuild.done() > done && rebuild.done() <= rebuild.total());
        done = rebuild.done();
    }
    rebuild.finish()
}

/// The digests of the pieces came with the input, so the images may be any: the signed manifest
/// decides. What is taken is the target.
fn judge(package: &Package, output: &File) -> bool {
    match verify_kept(output, &package.keyring, &mut |_, _| Ok(())) {
        Ok(verified) => {
            assert_eq!(verified.form, Form::Rebuilt);
            assert_eq!(verified.manifest_sha256, package.head.manifest_sha256());
            true
        }
        Err(PackageError::Io(error)) => panic!("what was rebuilt cannot be judged: {error}"),
        Err(error) => {
            eprintln!("E {error}");
            assert!(error.is_refusal(), "it would be tried again: {error}");
            false
        }
    }
}
