//! Packages that a terminal must refuse.

use std::path::Path;

use anyhow::{ensure, Context, Result};
use dau_package::make::Pki;
use dau_rig::hostile::{self, Signatory, Tampering};
use dau_rig::places::NEW;
use dau_rig::site::{Site, TERMINAL};
use serde_json::{json, Value};

use crate::scenarios::expect;

/// Exchanges the station's copy of a package, as an intruder would, and expects a refusal.
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
    expect::runs_on(site, mark)
}

/// Expects that the job's one result is a refusal for one of these reasons.
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
    site.station.exactly_one_result(job)
}

pub(super) fn tampered(site: &mut Site, tampering: Tampering, words: &[&str]) -> Result<()> {
    refused(site, words, |site, hostile| {
        hostile::tamper(&site.places.package(NEW, "full"), tampering, hostile)
    })
}

pub(super) fn signed_again(site: &mut Site, word: &str, change: fn(&mut Value)) -> Result<()> {
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

/// Refused by the station, which knows the terminal's product; and by the terminal if the station
/// does not.
pub(super) fn wrong_product(site: &mut Site) -> Result<()> {
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
    expect::runs_on(site, mark)
}

pub(super) fn unknown_signer(site: &mut Site) -> Result<()> {
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
