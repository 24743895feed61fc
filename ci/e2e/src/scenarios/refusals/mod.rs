//! Packages and orders that a terminal must refuse, one after another on one terminal, which runs
//! on unchanged.

mod ended;
mod packages;

use anyhow::Result;
use dau_rig::hostile::Tampering;
use dau_rig::places::NEW;
use dau_rig::site::{Options, Site};
use serde_json::{json, Value};

use super::case::{Case, Suite};
use super::{expect, messages};
use ended::{cancel, no_space};
use packages::{signed_again, tampered, unknown_signer, wrong_product};

pub const REFUSALS: Suite = Suite {
    options: || Options {
        broker_limit: Some(2 * dau_protocol::MAX_MESSAGE),
        ..expect::options()
    },
    cases: &[
        Case {
            name: "refuse-tampered-manifest",
            about: "a digit of manifest.json was changed",
            run: |site| tampered(site, Tampering::Manifest, &["signature-invalid"]),
        },
        Case {
            name: "refuse-tampered-signature",
            about: "a bit of manifest.sig was changed",
            run: |site| tampered(site, Tampering::Signature, &["signature-invalid"]),
        },
        Case {
            name: "refuse-tampered-signer",
            about: "signer.pem was changed",
            run: |site| {
                tampered(
                    site,
                    Tampering::Signer,
                    &["malformed", "signer-unknown", "signature-invalid"],
                )
            },
        },
        Case {
            name: "refuse-tampered-kernel",
            about: "a bit of the kernel was changed",
            run: |site| tampered(site, Tampering::Kernel, &["md5-mismatch"]),
        },
        Case {
            name: "refuse-tampered-rootfs",
            about: "a bit of the root filesystem was changed",
            run: |site| tampered(site, Tampering::Rootfs, &["md5-mismatch"]),
        },
        Case {
            name: "refuse-tampered-md5",
            about: "the MD5 file was changed, the signature is right",
            run: |site| tampered(site, Tampering::Md5, &["md5-mismatch"]),
        },
        Case {
            name: "refuse-truncated",
            about: "the end of the package is missing",
            run: |site| tampered(site, Tampering::Cut, &["truncated", "wrong-size"]),
        },
        Case {
            name: "refuse-trailing-member",
            about: "a second manifest follows the package",
            run: |site| tampered(site, Tampering::Trailing, &["trailing-bytes", "wrong-size"]),
        },
        Case {
            name: "refuse-wrong-md5-signed",
            about: "manifest and MD5 file agree on a wrong MD5, rightly signed",
            run: |site| {
                let wrong =
                    |manifest: &mut Value| manifest["system"]["md5"] = json!("0".repeat(32));
                signed_again(site, "md5-mismatch", wrong)
            },
        },
        Case {
            name: "refuse-wrong-sha256-signed",
            about: "the manifest has a wrong SHA-256, rightly signed",
            run: |site| {
                let wrong =
                    |manifest: &mut Value| manifest["system"]["sha256"] = json!("0".repeat(64));
                signed_again(site, "sha256-mismatch", wrong)
            },
        },
        Case {
            name: "refuse-wrong-product",
            about: "a package for another product; with --foreign, the real one of another builder",
            run: wrong_product,
        },
        Case {
            name: "refuse-older-rollback-index",
            about: "a package older than what is installed",
            run: |site| {
                signed_again(site, "older-rollback-index", |manifest| {
                    manifest["rollback_index"] = json!(0)
                })
            },
        },
        Case {
            name: "refuse-recovery-os-too-old",
            about: "a package that demands a later RecoveryOS than the terminal has",
            run: |site| {
                signed_again(site, "recovery-too-old", |manifest| {
                    manifest["minimum_recovery"] = json!(NEW)
                })
            },
        },
        Case {
            name: "refuse-unknown-signer",
            about: "a package signed by somebody the terminal does not know",
            run: unknown_signer,
        },
        Case {
            name: "refuse-no-space",
            about: "mnt has no space for the package; nothing is downloaded in vain",
            run: no_space,
        },
        Case {
            name: "cancel-in-download",
            about: "the station cancels a job during its download",
            run: cancel,
        },
        messages::UNKNOWN_TYPE,
        messages::MALFORMED,
        messages::OVERSIZE,
        Case {
            name: "refused-left-as-it-was",
            about: "after all these refusals the disk is as it left the factory",
            run: left_as_it_was,
        },
    ],
};

fn left_as_it_was(site: &mut Site) -> Result<()> {
    site.terminal.shut_down()?;
    expect::untouched(site)
}
