//! A terminal in a temporary folder, and packages for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use dau_boot_state::{decide, kernel_name, recovery_name, Boot, BootState, Operation, Store};
use dau_handoff::parameters::{self, ParameterSet};
use dau_handoff::{Job, Layout, Order};
use dau_model::{Kind, Slot, State};
use dau_package::make::{build, Compression, Pki, PkiOptions, Recipe, Signing};
use dau_package::Head;
use dau_system::cmdline::BootReason;
use dau_system::release::Release;
use dau_system::volume::Volume;
use openssl::pkey::PKey;
use tempfile::TempDir;

use crate::failpoint::Failpoint;
use crate::run::{self, Ended};
use crate::terminal::{RootfsDevice, Terminal};

pub const PRODUCT: &str = "test-terminal";
pub const JOB: i64 = 4711;
/// The parameters before a job, and the defaults in a new root filesystem.
pub const SETTINGS: &str = "relay trips at 630 A\n";
pub const DEFAULTS: &str = "relay trips never\n";
const PARTITION: u64 = 10 << 20;

/// Packages and their inputs. Made once, as tests only read them.
pub struct Made {
    dir: TempDir,
}

pub fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(Made::new)
}

impl Made {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = Made { dir };
        for name in ["pki", "stranger"] {
            Pki::create(&made.path(name), &PkiOptions::default()).unwrap();
        }
        for version in ["1.0.0", "1.1.0"] {
            fs::write(made.kernel(version), fit(version)).unwrap();
            made.image(version, 6);
        }
        made.image("large", 12);
        let both = |version| (Some(made.kernel(version)), Some(made.rootfs(version)));
        let make = |name: &str, parts, index| made.package(name, parts, index, PRODUCT, "pki");
        make("old", both("1.0.0"), 1);
        make("new", both("1.1.0"), 2);
        make("new-again", both("1.1.0"), 3);
        make("new-kernel", (Some(made.kernel("1.1.0")), None), 2);
        make("new-rootfs", (None, Some(made.rootfs("1.1.0"))), 2);
        make("older-index", both("1.1.0"), 0);
        make("demanding", both("1.1.0"), 2);
        make("large", (None, Some(made.rootfs("large"))), 2);
        made.package("other-product", both("1.1.0"), 2, "other", "pki");
        made.package("stranger", both("1.1.0"), 2, PRODUCT, "stranger");
        made.lying_image();
        let mut bytes = fs::read(made.dau("new")).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(made.dau("tampered"), bytes).unwrap();
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn kernel(&self, version: &str) -> PathBuf {
        self.path(&format!("kernel-{version}.itb"))
    }

    pub fn rootfs(&self, version: &str) -> PathBuf {
        self.path(&format!("rootfs-{version}.img"))
    }

    pub fn dau(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.dau"))
    }

    /// Makes an ext4 image with a file `version` and some incompressible data.
    fn image(&self, version: &str, mebibytes: u64) {
        let tree = self.path(&format!("tree-{version}"));
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::write(tree.join("version"), version).unwrap();
        fs::write(tree.join("same"), noise(7, 300_000)).unwrap();
        fs::write(
            tree.join("other"),
            noise(version.len() as u64 + version.as_bytes()[2] as u64, 200_000),
        )
        .unwrap();
        let image = self.rootfs(version);
        let made = Command::new("mkfs.ext4")
            .args([
                "-q",
                "-F",
                "-b",
                "4096",
                "-O",
                "^has_journal",
                "-U",
                "6e7a0f0e-58c8-4f8a-9d3b-5a5f5f6d1c11",
                "-d",
            ])
            .arg(&tree)
            .arg(&image)
            .arg(format!("{mebibytes}M"))
            .status();
        assert!(made.unwrap().success());
    }

    pub fn package(
        &self,
        name: &str,
        (kernel, rootfs): (Option<PathBuf>, Option<PathBuf>),
        rollback_index: u64,
        product: &str,
        pki: &str,
    ) {
        let pki = Pki::open(&self.path(pki)).unwrap();
        let key = PKey::private_key_from_pem(&fs::read(pki.signer_key()).unwrap()).unwrap();
        let signing = Signing::with_key(&fs::read(pki.signer_chain()).unwrap(), key).unwrap();
        let recipe = Recipe {
            product: product.to_owned(),
            version: "1.1.0".to_owned(),
            created: 1_767_225_600,
            rollback_index,
            kernel,
            rootfs,
            sbom: None,
            recovery: None,
            minimum_recovery: (name == "demanding").then(|| "1.1.0".to_owned()),
            compression: Compression {
                level: 1,
                threads: 1,
            },
        };
        build(&recipe, Some(&signing), &self.dau(name), &mut |_, _, _| {}).unwrap();
    }

    /// Makes `new-rootfs`, signed with a wrong digest of the unpacked image, which the packager
    /// refuses to make.
    fn lying_image(&self) {
        let pki = Pki::open(&self.path("pki")).unwrap();
        let key = PKey::private_key_from_pem(&fs::read(pki.signer_key()).unwrap()).unwrap();
        let sign = |manifest: &[u8]| {
            // Ed25519: deterministic, and always of the same length.
            let mut signer = openssl::sign::Signer::new_without_digest(&key).unwrap();
            signer.sign_oneshot_to_vec(manifest).unwrap()
        };
        let mut bytes = fs::read(self.dau("new-rootfs")).unwrap();
        let head = Head::parse(&bytes).unwrap().unwrap();
        let image = &head.manifest.payloads[0].image_sha256;
        let old = head.manifest_bytes.clone();
        let text = String::from_utf8(old.clone()).unwrap();
        let new = text.replace(image.as_str(), &"0".repeat(64)).into_bytes();
        assert_ne!(old, new);
        for (old, new) in [(&sign(&old), &sign(&new)), (&old, &new)] {
            let at = bytes.windows(old.len()).position(|found| found == old);
            let at = at.unwrap();
            bytes[at..at + new.len()].copy_from_slice(new);
        }
        fs::write(self.dau("lying-image"), bytes).unwrap();
    }

    pub fn keyring(&self) -> PathBuf {
        Pki::open(&self.path("pki")).unwrap().keyring()
    }
}

/// Returns reproducible noise.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// A FIT image with one kernel.
pub fn fit(version: &str) -> Vec<u8> {
    let data = noise(version.as_bytes()[2].into(), 700_000);
    let digest = openssl::sha::sha256(&data);
    dau_boot_state::fit::testing::image(
        &format!("DAU {PRODUCT} {version} kernel"),
        &[("kernel", &data, Some(("sha256", &digest)))],
    )
}

/// A terminal that runs 1.0.0, with parameters, an armed job with its package, and the matching
/// boot state.
pub struct Device {
    pub dir: TempDir,
}

impl Device {
    /// Returns a terminal with nothing pending.
    pub fn steady() -> Self {
        let made = made();
        let device = Device {
            dir: tempfile::tempdir().unwrap(),
        };
        for folder in ["boot", "rootfs/etc/dau/parameters.d"] {
            fs::create_dir_all(device.path(folder)).unwrap();
        }
        for slot in [Slot::A, Slot::B] {
            fs::copy(made.kernel("1.0.0"), device.kernel(slot)).unwrap();
        }
        fs::copy(made.rootfs("1.0.0"), device.path("rootfs.img")).unwrap();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(device.path("rootfs.img"));
        file.unwrap().set_len(PARTITION).unwrap();
        device.set_state(&BootState::factory());
        device.layout().create().unwrap();
        device.put_package("old", &device.layout().installed());
        fs::write(
            device.path("rootfs/etc/dau/parameters.d/relay.list"),
            "/etc/relay.conf\n",
        )
        .unwrap();
        fs::write(device.path("rootfs/etc/relay.conf"), SETTINGS).unwrap();
        device
    }

    /// Returns a terminal as the agent leaves it: package and backup in place, flag set.
    pub fn armed(kind: Kind, package: &str) -> Self {
        Self::armed_with(kind, package, "/etc/relay.conf\n")
    }

    /// Does the same as [`Device::armed`], with this parameter list.
    pub fn armed_with(kind: Kind, package: &str, list: &str) -> Self {
        let device = Self::steady();
        let lists = device.path("rootfs/etc/dau/parameters.d");
        fs::write(lists.join("relay.list"), list).unwrap();
        let layout = device.layout();
        device.put_package(package, &layout.candidate());
        let mut job = Job::new(JOB, Order::sample(kind));
        let head = Head::read_from(fs::File::open(layout.candidate()).unwrap()).unwrap();
        job.manifest_sha256 = Some(head.manifest_sha256());
        let root = device.path("rootfs");
        let set = ParameterSet::load(&root, Path::new(parameters::LISTS_DIR)).unwrap();
        job.parameters = Some(
            parameters::backup(&root, &set, &layout.backup(JOB), &layout.backup_digest(JOB))
                .unwrap(),
        );
        job.force(State::Armed);
        device.set_job(&job);
        device.set_state(&BootState::factory().armed(Operation::Install(kind)));
        fs::write(root.join("etc/relay.conf"), DEFAULTS).unwrap();
        device
    }

    /// Returns a terminal after a power cut while rootfs was written; the file of rootfs is still
    /// the old one.
    pub fn half_installed(package: &str) -> Self {
        let device = Self::armed(Kind::Full, package);
        device.change_job(|job| {
            job.force(State::Installing);
            job.attempts.rootfs_touched = true;
            job.attempts.kernel_before = Some(Slot::A);
        });
        device
    }

    /// Returns a terminal after a commit, once the bootloader has counted all tries down.
    pub fn trial_ended(kind: Kind, package: &str) -> Self {
        let device = Self::armed(kind, package);
        assert_eq!(device.run(), Ended::Reboot);
        let ended = BootState {
            tries: 0,
            ..device.state().unwrap()
        };
        device.set_state(&ended);
        fs::write(device.path("rootfs/etc/relay.conf"), DEFAULTS).unwrap();
        device
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn layout(&self) -> Layout {
        Layout::new(&self.path("mnt"))
    }

    pub fn kernel(&self, slot: Slot) -> PathBuf {
        self.path("boot").join(kernel_name(slot))
    }

    pub fn recovery(&self, slot: Slot) -> PathBuf {
        self.path("boot").join(recovery_name(slot))
    }

    pub fn put_package(&self, name: &str, path: &Path) {
        fs::copy(made().dau(name), path).unwrap();
    }

    pub fn job(&self) -> Job {
        Job::load(&self.layout().job()).unwrap().unwrap()
    }

    pub fn set_job(&self, job: &Job) {
        job.save(&self.layout().job()).unwrap();
    }

    pub fn change_job(&self, change: impl FnOnce(&mut Job)) {
        let mut job = self.job();
        change(&mut job);
        self.set_job(&job);
    }

    pub fn state(&self) -> Option<BootState> {
        Store::load(&self.path("boot")).state().cloned()
    }

    pub fn set_state(&self, state: &BootState) {
        Store::load(&self.path("boot")).save(state).unwrap();
    }

    /// Returns the copy of the boot state that is not valid any more.
    pub fn older_copy(&self) -> PathBuf {
        let store = Store::load(&self.path("boot"));
        let counts = store.state();
        let other = |copy: &Result<BootState, _>| copy.as_ref().ok() != counts;
        let index = store.copies().iter().position(other).unwrap();
        self.path("boot").join(dau_boot_state::COPY_NAMES[index])
    }

    /// Writes half of the new OS over the old one.
    pub fn spoil_rootfs(&self) {
        let new = fs::read(made().rootfs("1.1.0")).unwrap();
        let mut found = fs::read(self.path("rootfs.img")).unwrap();
        let half = new.len() / 2;
        found[..half].copy_from_slice(&new[..half]);
        fs::write(self.path("rootfs.img"), found).unwrap();
    }

    pub fn lose_state(&self) {
        for name in dau_boot_state::COPY_NAMES {
            fs::write(
                self.path("boot").join(name),
                [0xff; dau_boot_state::COPY_SIZE],
            )
            .unwrap();
        }
    }

    pub fn terminal(&self, reason: Option<BootReason>, failpoint: Failpoint) -> Terminal {
        Terminal {
            boot: Volume::Directory(self.path("boot")),
            mnt: Volume::Directory(self.path("mnt")),
            rootfs: RootfsDevice::Path(self.path("rootfs.img")),
            rootfs_files: Volume::Directory(self.path("rootfs")),
            keyring: made().keyring(),
            release: Release {
                product: PRODUCT.to_owned(),
                version: "1.0.0".to_owned(),
                rollback_index: 1,
                ..Release::default()
            },
            reason,
            recovery: Some(Slot::A),
            failpoint,
            progress: || {},
        }
    }

    /// Runs once, for the reason that the bootloader would give.
    pub fn run(&self) -> Ended {
        match decide(self.state().as_ref()) {
            Boot::RecoveryOs { reason, .. } => self.run_for(Some(reason)),
            boot => panic!("the bootloader starts {boot:?}"),
        }
    }

    pub fn run_for(&self, reason: Option<BootReason>) -> Ended {
        run::run(&self.terminal(reason, Failpoint::default()), None)
    }

    /// Returns the version of the OS in the root filesystem's image after checking the image.
    pub fn rootfs_version(&self) -> String {
        let image = self.path("rootfs.img");
        let check = Command::new("e2fsck")
            .args(["-f", "-n"])
            .arg(&image)
            .output()
            .unwrap();
        assert!(
            check.status.success(),
            "{}",
            String::from_utf8_lossy(&check.stdout)
        );
        let cat = Command::new("debugfs")
            .args(["-R", "cat /version"])
            .arg(&image)
            .output();
        String::from_utf8(cat.unwrap().stdout).unwrap()
    }

    /// Returns the version of the intact kernel in a slot; empty if it is unknown.
    pub fn kernel_version(&self, slot: Slot) -> &'static str {
        let found = fs::read(self.kernel(slot)).unwrap();
        for version in ["1.0.0", "1.1.0"] {
            let kernel = fs::read(made().kernel(version)).unwrap();
            if found.starts_with(&kernel) {
                return version;
            }
        }
        ""
    }

    pub fn settings(&self) -> String {
        fs::read_to_string(self.path("rootfs/etc/relay.conf")).unwrap()
    }

    /// Returns all files on boot and the root filesystem, by name.
    pub fn bytes(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = vec![self.path("rootfs.img"), self.path("rootfs/etc/relay.conf")];
        files.extend([Slot::A, Slot::B].map(|slot| self.kernel(slot)));
        files
            .into_iter()
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    }
}
