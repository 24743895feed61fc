//! The manifest: read from a package before its signature is verified.

use std::cmp::Ordering;

use dau_package::version::compare;
use dau_package::{check_policy, Installed, Manifest, Refusal, MAX_IMAGE, MAX_SYSTEM_TAR};

use crate::memory;

/// Largest manifest in a package, bytes.
const LARGEST: usize = 64 << 10;
/// Text and values of the largest manifest.
const MEMORY: usize = 2 << 20;

pub fn check(data: &[u8]) {
    let data = &data[..data.len().min(LARGEST)];
    match memory::within(MEMORY, || Manifest::from_json(data)) {
        Ok(manifest) => accepted(&manifest),
        Err(error) => assert!(!error.reason.is_empty() && !error.field.is_empty()),
    }
}

fn accepted(manifest: &Manifest) {
    assert_eq!(
        Manifest::from_json(&manifest.to_json()).as_ref(),
        Ok(manifest)
    );
    let created = manifest.created_unix().expect("it was judged");
    assert!(created >= 0);
    assert_eq!(manifest.kernel().is_some(), manifest.kind.has_kernel());
    assert_eq!(manifest.rootfs().is_some(), manifest.kind.has_rootfs());
    assert!(!manifest.payloads.is_empty() && manifest.payloads.len() <= 3);
    let mut stored = 0;
    for payload in &manifest.payloads {
        assert_eq!(payload.name, payload.payload_type.member());
        assert!((1..=MAX_SYSTEM_TAR).contains(&payload.size));
        assert!((1..=MAX_IMAGE).contains(&payload.image_size));
        stored += payload.size;
    }
    assert!(stored < manifest.system.size && manifest.system.size <= MAX_SYSTEM_TAR);
    // They become names of files, topics and environment variables.
    for name in [&manifest.product, &manifest.version] {
        assert!((1..=64).contains(&name.len()) && !name.starts_with(['.', '-']));
        assert!(!name.contains(['/', '\0', '=', ' ', '\n', '#']));
    }
    policy(manifest, created);
    order(&manifest.product, &manifest.version);
}

/// Checks that a terminal accepts only its own product, and no package older than allowed.
fn policy(manifest: &Manifest, created: i64) {
    let own = Installed {
        product: manifest.product.clone(),
        rollback_index: manifest.rollback_index,
        recovery_version: manifest.minimum_recovery.clone(),
    };
    let judge = |installed: &Installed| {
        check_policy(
            manifest,
            installed,
            Some(manifest.kind),
            Some(&manifest.version),
        )
    };
    assert_eq!(judge(&own), Ok(()), "made at {created}");
    let other = Installed {
        product: format!("{}x", own.product),
        ..own.clone()
    };
    assert!(matches!(judge(&other), Err(Refusal::WrongProduct { .. })));
    if let Some(index) = own.rollback_index.checked_add(1) {
        let newer = Installed {
            rollback_index: index,
            ..own.clone()
        };
        assert!(matches!(
            judge(&newer),
            Err(Refusal::OlderRollbackIndex { .. })
        ));
    }
    if manifest.minimum_recovery.is_some() {
        let unknown = Installed {
            recovery_version: None,
            ..own
        };
        assert!(matches!(
            judge(&unknown),
            Err(Refusal::RecoveryTooOld { .. })
        ));
    }
}

/// Checks that versions are totally ordered.
pub fn order(left: &str, right: &str) {
    assert_eq!(compare(left, left), Ordering::Equal);
    assert_eq!(compare(left, right), compare(right, left).reverse());
    let later = format!("{left}.1");
    assert_eq!(compare(left, &later), Ordering::Less);
    assert_eq!(compare(&format!("{left}~1"), left), Ordering::Less);
}
