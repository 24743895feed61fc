//! Random trees survive whole, twice.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{symlink, PermissionsExt};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use rustix::fs::{utimensat, AtFlags, Timespec, Timestamps, CWD};

use super::*;

#[derive(Debug, Clone)]
enum Node {
    File {
        content: Vec<u8>,
        mode: u32,
        time: (i64, u32),
        attributes: Vec<(String, Vec<u8>)>,
    },
    Link {
        target: Vec<u8>,
    },
    Folder {
        mode: u32,
        children: Vec<(OsString, Node)>,
    },
    /// Another name of the file at this index (of those made so far).
    Again(prop::sample::Index),
}

/// Names with any byte that Linux allows.
fn name() -> impl Strategy<Value = OsString> {
    let byte = any::<u8>().prop_filter("not in a name", |byte| ![0, b'/'].contains(byte));
    let plain = "[a-c]{1,2}".prop_map(OsString::from);
    let any = vec(byte, 1..=120).prop_map(OsString::from_vec);
    prop_oneof![2 => plain, 1 => any].prop_filter("not a name", |name| name != "." && name != "..")
}

fn node() -> impl Strategy<Value = Node> {
    let times = (-4_000_000_000i64..4_000_000_000, 0u32..1_000_000_000);
    let attribute = ("user\\.[a-z=%]{1,5}", vec(any::<u8>(), 0..40));
    // Readable for the owner, as the test need not be root.
    let mode = || (0u32..0o7777).prop_map(|mode| mode | 0o600);
    let file = (
        vec(any::<u8>(), 0..3000),
        mode(),
        times,
        vec(attribute, 0..3),
    )
        .prop_map(|(content, mode, time, attributes)| Node::File {
            content,
            mode,
            time,
            attributes,
        });
    let target = vec(1u8..=255, 1..200).prop_map(|target| Node::Link { target });
    let again = any::<prop::sample::Index>().prop_map(Node::Again);
    let leaf = prop_oneof![4 => file, 1 => target, 1 => again];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        (mode(), btree_map(name(), inner, 0..6)).prop_map(|(mode, children)| Node::Folder {
            mode: mode | 0o700,
            children: children.into_iter().collect(),
        })
    })
}

/// Makes a tree; `files` collects its files for [`Node::Again`].
fn make(path: &Path, node: &Node, attributes_work: bool, files: &mut Vec<PathBuf>) {
    match node {
        Node::File {
            content,
            mode,
            time,
            attributes,
        } => {
            fs::write(path, content).unwrap();
            for (name, value) in attributes.iter().filter(|_| attributes_work) {
                xattr::set(path, name, value).unwrap();
            }
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
            let time = Timespec {
                tv_sec: time.0,
                tv_nsec: time.1.into(),
            };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            files.push(path.to_owned());
        }
        Node::Link { target } => symlink(OsString::from_vec(target.clone()), path).unwrap(),
        Node::Folder { mode, children } => {
            fs::create_dir(path).unwrap();
            for (name, child) in children {
                make(&path.join(name), child, attributes_work, files);
            }
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        Node::Again(_) if files.is_empty() => {}
        Node::Again(index) => {
            let first = &files[index.index(files.len())];
            fs::hard_link(first, path).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_as_it_was(children in btree_map(name(), node(), 0..8)) {
        let terminal = Terminal::new("/app\n");
        let mode = 0o755;
        let tree = Node::Folder { mode, children: children.into_iter().collect() };
        let attributes = attributes_work(terminal.dir.path());
        make(&terminal.old().join("app"), &tree, attributes, &mut Vec::new());

        let record = terminal.backup().unwrap();
        terminal.read_back(&record).unwrap();
        let restored = terminal.restore().unwrap();
        prop_assert_eq!(&restored.digest, &record.digest);
        prop_assert_eq!(restored.entries, record.entries);
        let comparison = terminal.compare(&terminal.new_root());
        prop_assert_eq!(&comparison.changed, &[] as &[PathBuf]);
        prop_assert_eq!(&comparison.digest, &record.digest);

        // Restored once more over itself, as after a power cut; then backed up from the new root.
        prop_assert_eq!(&terminal.restore().unwrap(), &restored);
        let tar = terminal.dir.path().join("backup/2.tar");
        let digest_file = terminal.dir.path().join("backup/2.tar.sha256");
        let again = backup(&terminal.new_root(), &terminal.set, &tar, &digest_file).unwrap();
        prop_assert_eq!(again.digest, record.digest);
        prop_assert_eq!(again.entries, record.entries);
    }
}
