use super::*;
use crate::SystemTar;

fn manifest() -> Manifest {
    Manifest {
        format: 1,
        product: "qemu-aarch64".into(),
        version: "1.1.0".into(),
        kind: Kind::Rootfs,
        created: "2026-01-31T12:00:00Z".into(),
        rollback_index: 5,
        minimum_recovery: None,
        delta: None,
        payloads: Vec::new(),
        system: SystemTar {
            size: 0,
            md5: String::new(),
            sha256: String::new(),
        },
        sbom_sha256: None,
    }
}

#[test]
fn only_the_terminals_own_product_and_nothing_too_old() {
    // product of the terminal, index installed, kind ordered, version ordered, word
    let rootfs = Some(Kind::Rootfs);
    let cases = [
        ("qemu-aarch64", 5, None, None, None),
        ("qemu-aarch64", 4, rootfs, Some("1.1.0"), None),
        ("qemu-armv7", 5, None, None, Some(Word::WrongProduct)),
        ("qemu-aarch6", 0, None, None, Some(Word::WrongProduct)),
        ("", 0, None, None, Some(Word::WrongProduct)),
        (
            "qemu-aarch64",
            6,
            None,
            None,
            Some(Word::OlderRollbackIndex),
        ),
        (
            "qemu-aarch64",
            u64::MAX,
            None,
            None,
            Some(Word::OlderRollbackIndex),
        ),
        (
            "qemu-aarch64",
            5,
            Some(Kind::Full),
            None,
            Some(Word::WrongKind),
        ),
        (
            "qemu-aarch64",
            5,
            Some(Kind::Kernel),
            None,
            Some(Word::WrongKind),
        ),
        (
            "qemu-aarch64",
            5,
            rootfs,
            Some("1.1.1"),
            Some(Word::WrongVersion),
        ),
    ];
    for (product, rollback_index, kind, version, word) in cases {
        let installed = Installed {
            product: product.into(),
            rollback_index,
            recovery_version: None,
        };
        let refusal = check_policy(&manifest(), &installed, kind, version).err();
        assert_eq!(refusal.as_ref().map(Refusal::word), word, "{refusal:?}");
    }
}

#[test]
fn a_recovery_os_older_than_demanded_is_refused() {
    let cases = [
        (None, None, true),
        (Some("1.0.0"), None, false),
        (Some("1.0.0"), Some("1.0.0"), true),
        (Some("1.0.0"), Some("1.10.0"), true),
        (Some("1.2.0"), Some("1.10.0"), true),
        (Some("1.10.0"), Some("1.2.0"), false),
        (Some("1.0.0"), Some("1.0.0~rc1"), false),
    ];
    for (minimum, found, taken) in cases {
        let manifest = Manifest {
            minimum_recovery: minimum.map(str::to_owned),
            ..manifest()
        };
        let installed = Installed {
            product: "qemu-aarch64".into(),
            rollback_index: 0,
            recovery_version: found.map(str::to_owned),
        };
        let refusal = check_policy(&manifest, &installed, None, None).err();
        assert_eq!(
            refusal.as_ref().map(Refusal::word),
            (!taken).then_some(Word::RecoveryTooOld),
            "{minimum:?} {found:?}"
        );
    }
}
