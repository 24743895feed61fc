use std::collections::{BTreeMap, BTreeSet};

use super::*;
use dau_model::{Outcome, State};

fn texts(name: &str) -> BTreeMap<&'static str, &'static str> {
    let (_, file) = FILES.iter().find(|file| file.0 == name).unwrap();
    let lines = file.lines().filter_map(|line| {
        let (key, text) = line.trim().strip_prefix('"')?.split_once("\": \"")?;
        Some((key, text.strip_suffix("\",")?))
    });
    lines.collect()
}

/// The names in braces.
fn values(text: &str) -> BTreeSet<&str> {
    text.split('{')
        .skip(1)
        .map(|rest| rest.split('}').next().unwrap())
        .collect()
}

fn scripts() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    FILES.iter().filter(|file| file.0.ends_with(".js"))
}

#[test]
fn every_text_is_there_in_both_languages() {
    let (en, zh) = (texts("en.js"), texts("zh.js"));
    assert!(en.len() > 150, "{}", en.len());
    assert_eq!(en.keys().collect::<Vec<_>>(), zh.keys().collect::<Vec<_>>());
    for (key, text) in &en {
        assert!(!text.is_empty() && !zh[key].is_empty(), "{key}");
        assert_eq!(values(text), values(zh[key]), "{key}");
    }
}

#[test]
fn no_text_is_missing_and_none_is_unused() {
    let en = texts("en.js");
    let all: String = scripts()
        .filter(|file| !matches!(file.0, "en.js" | "zh.js"))
        .map(|file| file.1)
        .collect();
    // t("key") and t(`key`) name a text, t("key." + …) and t(`key.${…}`) a family; keys that are chosen
    // among others stand alone.
    let named = all.match_indices("t(").filter_map(|(at, _)| {
        let before = all[..at].chars().next_back()?;
        let rest = &all[at + 2..];
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '`'))?;
        (!before.is_alphanumeric()).then(|| rest[1..].split(quote).next())?
    });
    let mut families = BTreeSet::new();
    for name in named {
        match name.split_once("${") {
            Some((family, _)) => drop(families.insert(family)),
            None if name.ends_with('.') => drop(families.insert(name)),
            None => assert!(en.contains_key(name), "'{name}' has no text"),
        }
    }
    for key in en.keys() {
        let of_family = families.iter().any(|family| key.starts_with(family));
        assert!(
            of_family || all.contains(&format!("\"{key}\"")),
            "'{key}' is unused"
        );
    }
    let states = State::ALL.iter().map(|state| state.word());
    let outcomes = Outcome::ALL.iter().map(|outcome| outcome.word());
    for word in states.chain(outcomes) {
        assert!(en.contains_key(format!("state.{word}").as_str()), "{word}");
    }
    for role in <crate::api_tokens::role::Role as clap::ValueEnum>::value_variants() {
        assert!(en.contains_key(format!("role.{role}").as_str()), "{role}");
    }
}

#[test]
fn every_script_is_served_and_announced() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/page");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let served = FILES.iter().any(|file| file.0 == name);
        assert!(
            served || name.ends_with(".rs") || name == "index.html",
            "{name}"
        );
    }
    for (name, _) in scripts() {
        assert!(HTML.contains(&format!("\"/page/{name}\"")), "{name}");
    }
    let size: usize = FILES.iter().map(|file| file.1.len()).sum();
    assert!(size + HTML.len() < 250_000, "{size}");
}
