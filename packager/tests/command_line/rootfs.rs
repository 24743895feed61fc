//! Root filesystems that `build` refuses.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::common::{make_ext4, Bench, BUILD, SIGNED};

/// Images that terminals would refuse to install or could never recover from are refused at the
/// build.
#[test]
fn root_filesystems_that_terminals_cannot_install_are_refused() {
    let bench = Bench::new("ed25519");
    bench.build(&[]);
    let package = fs::read(bench.path("package.dau")).unwrap();
    let good = fs::read(bench.path("rootfs.img")).unwrap();
    type Spoil = fn(Vec<u8>) -> Vec<u8>;
    let cases: [(&str, Spoil, &str); 7] = [
        ("empty", |_| Vec::new(), "not an ext4 file system"),
        (
            "archive",
            |_| [&[0; 257][..], b"ustar", &[0; 9978]].concat(),
            "not an ext4 file system",
        ),
        ("cut-short", |image| image[..8 << 20].to_vec(), "cut short"),
        (
            "no-whole-blocks",
            |image| [&image[..], &[0; 512]].concat(),
            "not a multiple of 4096",
        ),
        (
            "mounted",
            |mut image| {
                image[1024 + 0x3A] = 0;
                image
            },
            "unmounted cleanly",
        ),
        (
            "unknown-feature",
            |mut image| {
                image[1024 + 0x60 + 3] |= 0x40;
                image
            },
            "incompat 0x40000000",
        ),
        (
            "damaged",
            |mut image| {
                // The root directory's entries.
                image[4096..9 << 19].fill(0xA5);
                image
            },
            "e2fsck finds it damaged",
        ),
    ];
    for (attack, spoil, expected) in cases {
        fs::write(bench.path("rootfs.img"), spoil(good.clone())).unwrap();
        let said = bench.run_badly(1, &[&BUILD[..], &SIGNED].concat());
        assert!(
            said.contains(expected) && said.contains("rootfs.img"),
            "{attack}: {said}"
        );
        assert!(
            fs::read(bench.path("package.dau")).unwrap() == package,
            "{attack}"
        );
    }
    fs::write(bench.path("rootfs.img"), &good).unwrap();
    let room = |room: &'static str| [&BUILD[..], &SIGNED, &["--rootfs-room", room]].concat();
    let said = bench.run_badly(1, &room("9437183"));
    assert!(
        said.contains("9437184") && said.contains("9437183"),
        "{said}"
    );
    bench.run_badly(1, &room("8M"));
    bench.run_badly(2, &room("9X"));
    for enough in ["9437184", "9M", "9216K", "1G"] {
        bench.run_well(&room(enough));
    }
}

#[test]
fn without_e2fsck_a_root_filesystem_is_not_packed() {
    let bench = Bench::new("ed25519");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-euc"])
        .arg("mount -t tmpfs none /sbin; mount -t tmpfs none /usr/sbin; exec \"$@\"")
        .arg("sh")
        .arg(env!("CARGO_BIN_EXE_dau-packager"))
        .args([&BUILD[..], &SIGNED].concat())
        .current_dir(bench.dir.path())
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("unshare") || said.contains("mount:") {
        eprintln!("left out: this machine allows no namespaces: {said}");
        return;
    }
    assert!(!output.status.success());
    assert!(said.contains("install e2fsprogs"), "{said}");
}

#[test]
fn parameters_that_could_not_be_put_back_are_told_when_the_package_is_built() {
    let bench = Bench::new("ed25519");
    let root = bench.path("tree");
    for folder in ["etc/dau/parameters.d", "data/app set", "etc/real"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    symlink("../data/app set", root.join("etc/app")).unwrap();
    symlink("../usr/share/zoneinfo/UTC", root.join("etc/localtime")).unwrap();
    let build = [&BUILD[..], &SIGNED].concat();
    let list = |text: &str| {
        fs::write(root.join("etc/dau/parameters.d/app.list"), text).unwrap();
        fs::remove_file(bench.path("rootfs.img")).unwrap();
        make_ext4(bench.dir.path(), "rootfs.img");
    };
    for good in [
        "/etc/localtime\n/etc/real\nrequired /data/app set\n/etc/missing\n",
        "/etc/app/settings.conf\n/etc/*\n",
    ] {
        list(good);
        bench.run_well(&build);
    }
    for (bad, expected) in [
        (
            "/etc/real\n/etc/app\n",
            "/etc/app, which a parameter list names, is a link to a folder",
        ),
        ("etc/real\n", "a path starts with '/'"),
    ] {
        list(bad);
        let said = bench.run_badly(1, &build);
        assert!(said.contains(expected), "{bad}: {said}");
    }
}
