//! What a terminal must refuse, on one terminal after the other: it runs on as it was.

use std::path::Path;

use anyhow::{ensure, Context, Result};
use dau_package::make::Pki;
use serde_json::{json, Value};

use super::{expect, messages, Case, Suite};
use crate::hostile::{self, Signatory, Tampering};
use crate::places::NEW;
use crate::site::{Site, TERMINAL};
use crate::terminal::line;

pub const REFUSALS: Suite = Suite {
    options: || crate::site::Options {
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
            about: "mnt has no room for the package; not a byte is fetched in vain",
            run: no_space,
        },
        Case {
            name: "cancel-in-download",
            about: "the station calls a job off while it is fetched",
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

/// Bytes a second where little may be fetched.
const SLOW: u64 = 128 << 10;

/// The station's copy of a package is exchanged, as by whoever has broken into it.
fn refused(
    site: &mut Site,
    words: &[&str],
    make: impl FnOnce(&Site, &Path) -> Result<()>,
) -> Result<()> {
    let hostile = site.folder.join("hostile.dau");
    make(site, &hostile)?;
    let mark = site.terminal.console().mark();
    let package = site.station.upload(&site.places.package(NEW, "full"))?;
    site.station.exchange(package, &hostile)?;
    let job = site.station.order(TERMINAL, package, "full")?;
    ends_refused(site, job, words)?;
    runs_on(site, mark)
}

/// The one result of the job is a refusal for one of these reasons.
fn ends_refused(site: &mut Site, job: i64, words: &[&str]) -> Result<()> {
    let view = site.wait_for_result(job)?;
    ensure!(
        view.outcome.as_deref() == Some("refused") && words.contains(&view.word.as_str()),
        "job {job} ended {:?} ({}), not refused ({}): {}",
        view.outcome,
        view.word,
        words.join(" or "),
        view.message
    );
    ensure!(
        view.message.len() > 20,
        "the reason is hardly one: {}",
        view.message
    );
    site.exactly_one_result(job)
}

/// The application serves, nothing rebooted, and nothing of the package is left on mnt.
pub fn runs_on(site: &mut Site, since: crate::terminal::Mark) -> Result<()> {
    let booted = site.terminal.console().count(since, line::NORMAL)
        + site.terminal.console().count(since, line::RECOVERY);
    ensure!(booted == 0, "the terminal rebooted");
    site.terminal.wait_until_serving()?;
    // No terminal at its output: busybox would colour it there.
    let packages = site.terminal.shell()?.run("ls /mnt/dau/packages | cat")?;
    let packages: Vec<&str> = packages.split_ascii_whitespace().collect();
    ensure!(
        packages == ["installed.dau"],
        "on mnt there is {packages:?}"
    );
    Ok(())
}

fn tampered(site: &mut Site, tampering: Tampering, words: &[&str]) -> Result<()> {
    refused(site, words, |site, hostile| {
        hostile::tamper(&site.places.package(NEW, "full"), tampering, hostile)
    })
}

fn signed_again(site: &mut Site, word: &str, change: fn(&mut Value)) -> Result<()> {
    refused(site, &[word], |site, hostile| {
        let signatory = Signatory::of(&Pki::open(site.places.pki())?);
        hostile::sign_again(
            &site.places.package(NEW, "full"),
            &signatory,
            hostile,
            change,
        )
    })
}

/// Refused by the station, which knows the terminal's product; and by the terminal, when a station does not.
fn wrong_product(site: &mut Site) -> Result<()> {
    let Some(foreign) = site.places.foreign().map(Path::to_owned) else {
        return signed_again(site, "wrong-product", |manifest| {
            manifest["product"] = json!("other-terminal")
        });
    };
    let package = site.station.upload(&foreign)?;
    let ordered = site.station.order(TERMINAL, package, "full");
    let refusal = ordered
        .err()
        .context("the station ordered a package of another product")?;
    ensure!(
        format!("{refusal:#}").contains("product-mismatch"),
        "the station refused for another reason: {refusal:#}"
    );
    let mark = site.terminal.console().mark();
    site.station.forget_product(TERMINAL)?;
    let job = site.station.order(TERMINAL, package, "full")?;
    ends_refused(site, job, &["wrong-product"])?;
    runs_on(site, mark)
}

fn unknown_signer(site: &mut Site) -> Result<()> {
    refused(site, &["signer-unknown"], |site, hostile| {
        let stranger = Signatory::of(site.pki.stranger());
        hostile::sign_again(
            &site.places.package(NEW, "full"),
            &stranger,
            hostile,
            |_| (),
        )
    })
}

fn no_space(site: &mut Site) -> Result<()> {
    let mark = site.terminal.console().mark();
    let size = std::fs::metadata(site.places.package(NEW, "full"))?.len();
    let shell = site.terminal.shell()?;
    let free = shell.run("df -k /mnt | tail -n 1")?;
    let free: u64 = free
        .split_ascii_whitespace()
        .nth(3)
        .context("df's fourth column")?
        .parse()?;
    let room = size / 2 / 1024;
    shell.run(&format!("fallocate -l {} /mnt/full", (free - room) * 1024))?;
    // Slow, so that little is on its way when the terminal hangs up.
    site.link.limit(Some(SLOW));
    let before = site.link.bytes_down();
    let job = site.order(NEW, "full")?;
    let view = site.wait_for_result(job)?;
    site.link.limit(None);
    ensure!(
        matches!(view.outcome.as_deref(), Some("refused" | "failed")) && view.word == "no-space",
        "job {job} ended {:?} ({}): {}",
        view.outcome,
        view.word,
        view.message
    );
    // What the station had sent ahead lay in buffers on the way when the terminal hung up.
    let fetched = site.link.bytes_down() - before;
    ensure!(
        fetched < size / 4,
        "{fetched} bytes were fetched although there was no room"
    );
    site.exactly_one_result(job)?;
    site.terminal.shell()?.run("rm /mnt/full")?;
    runs_on(site, mark)
}

fn cancel(site: &mut Site) -> Result<()> {
    let mark = site.terminal.console().mark();
    site.link.limit(Some(2 << 20));
    let before = site.link.bytes_down();
    let job = site.order(NEW, "full")?;
    crate::wait::until(
        "the download to be under way",
        crate::terminal::limit::COMMAND,
        || Ok((site.link.bytes_down() - before > 4 << 20).then_some(())),
    )?;
    site.station.cancel(job)?;
    let view = site.wait_for_result(job)?;
    site.link.limit(None);
    ensure!(
        view.outcome.as_deref() == Some("cancelled"),
        "job {job} ended {:?}",
        view.outcome
    );
    site.exactly_one_result(job)?;
    runs_on(site, mark)
}

fn left_as_it_was(site: &mut Site) -> Result<()> {
    site.terminal.shut_down()?;
    expect::untouched(site)
}
