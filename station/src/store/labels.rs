//! What operators note of a terminal: attributes, each of a known name, and tags.

use std::collections::{BTreeMap, BTreeSet};

use dau_package::version::sort_key;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::events::{self, kind, Subject};
use super::sql::params;
use super::{Read, Result, Write};

pub mod import;

/// The attributes: where the terminal is (`cell`: its radio cell; `position`: its number along the
/// feeder or ring), what it is, whose it is, and its time zone.
pub const NAMES: [&str; 10] = [
    "region",
    "substation",
    "feeder",
    "ring",
    "position",
    "cell",
    "model",
    "owner",
    "contact",
    "zone",
];
/// Longest value of an attribute, bytes.
const MAX_VALUE: usize = 128;
/// Longest tag, bytes.
const MAX_TAG: usize = 64;
/// Most tags of a terminal.
const MAX_TAGS: usize = 64;

/// The attributes and tags of a terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Values by name; a value is never empty.
    pub attributes: BTreeMap<String, String>,
    pub tags: BTreeSet<String>,
}

/// A change of a terminal's attributes and tags; what it does not name stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Attributes to set, by name: `region`, `substation`, `feeder`, `ring`, `position` (an integer),
    /// `cell`, `model`, `owner`, `contact`, `zone` (as in the IANA's list, `Asia/Shanghai`). Null, or
    /// an empty text, removes one.
    #[serde(default)]
    pub attributes: BTreeMap<String, Option<String>>,
    /// Tags to add; one of at most 64 bytes, at most 64 for a terminal.
    #[serde(default)]
    pub tag: Vec<String>,
    /// Tags to remove.
    #[serde(default)]
    pub untag: Vec<String>,
}

impl Change {
    /// Returns what `labels` become by the change, or what is refused and why.
    pub fn applied(&self, labels: &Labels) -> Result<Labels, String> {
        let mut after = labels.clone();
        for (name, value) in &self.attributes {
            let value = value.as_deref().unwrap_or_default();
            check_attribute(name, value)?;
            match value {
                "" => after.attributes.remove(name),
                value => after.attributes.insert(name.clone(), value.to_owned()),
            };
        }
        for tag in &self.untag {
            after.tags.remove(tag);
        }
        for tag in &self.tag {
            check_tag(tag)?;
            after.tags.insert(tag.clone());
        }
        match after.tags.len() {
            ..=MAX_TAGS => Ok(after),
            many => Err(format!(
                "the terminal would have {many} tags, more than {MAX_TAGS}: remove some"
            )),
        }
    }
}

/// Refuses what the attribute cannot be; empty stands for none.
fn check_attribute(name: &str, value: &str) -> Result<(), String> {
    if !NAMES.contains(&name) {
        let (name, names) = (dau_protocol::shortened(name, MAX_TAG), NAMES.join(", "));
        return Err(format!("'{name}' is no attribute: there are {names}"));
    }
    let shown = || dau_protocol::shortened(value, MAX_VALUE);
    if value.len() > MAX_VALUE || value.chars().any(char::is_control) {
        return Err(format!(
            "{name}: '{}' is no value: at most {MAX_VALUE} bytes without control characters",
            shown().escape_debug()
        ));
    }
    if value != value.trim() {
        return Err(format!("{name}: '{value}' begins or ends with a blank"));
    }
    match name {
        "position" if !value.is_empty() && value.parse::<u32>().is_err() => Err(format!(
            "position: '{value}' is no number from 0 to {}: give the place along the feeder or ring",
            u32::MAX
        )),
        "zone" if !value.is_empty() && !is_zone(value) => Err(format!(
            "zone: '{value}' is no name of a time zone, such as Asia/Shanghai"
        )),
        _ => Ok(()),
    }
}

/// Tells whether a text looks like a name in the IANA's list of time zones.
fn is_zone(text: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic())
            && part
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "_-+".contains(letter))
    };
    text.split('/').all(is_part)
}

fn check_tag(tag: &str) -> Result<(), String> {
    let refused = |letter: char| {
        letter.is_whitespace() || letter.is_control() || "()=!<>,;\"'*".contains(letter)
    };
    match tag.is_empty() || tag.len() > MAX_TAG || tag.contains(refused) {
        false => Ok(()),
        true => Err(format!(
            "'{}' is no tag: 1 to {MAX_TAG} bytes without blanks and ( ) = ! < > , ; \" ' *",
            dau_protocol::shortened(tag, MAX_TAG).escape_debug()
        )),
    }
}

/// Returns what is noted of a terminal.
pub fn of(r: &Read<'_>, terminal: &str) -> Result<Labels> {
    let attributes: Vec<(String, String)> = r.all(
        "SELECT name, value FROM terminal_attributes WHERE terminal = ?",
        params![terminal],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let tags: Vec<String> = r.all(
        "SELECT tag FROM terminal_tags WHERE terminal = ?",
        params![terminal],
        |row| row.get(0),
    )?;
    Ok(Labels {
        attributes: attributes.into_iter().collect(),
        tags: tags.into_iter().collect(),
    })
}

/// Writes what differs from `before`, and records who did it. The caller holds the lock on the
/// terminal, which is known.
pub fn replace(
    w: &Write<'_>,
    now: i64,
    terminal: &str,
    before: &Labels,
    after: &Labels,
    by: &str,
) -> Result<()> {
    if before == after {
        return Ok(());
    }
    let mut changed = BTreeMap::new();
    for name in NAMES {
        let (old, new) = (before.attributes.get(name), after.attributes.get(name));
        if old == new {
            continue;
        }
        changed.insert(name, json!([old, new]));
        match new {
            None => w.execute(
                "DELETE FROM terminal_attributes WHERE terminal = ? AND name = ?",
                params![terminal, name],
            )?,
            Some(value) => w.execute(
                "INSERT INTO terminal_attributes (terminal, name, value, sort_key) \
                 VALUES (?, ?, ?, ?) ON CONFLICT (terminal, name) DO UPDATE \
                 SET value = excluded.value, sort_key = excluded.sort_key",
                params![terminal, name, value, sort_key(value)],
            )?,
        };
    }
    let removed: Vec<&String> = before.tags.difference(&after.tags).collect();
    for tag in &removed {
        w.execute(
            "DELETE FROM terminal_tags WHERE terminal = ? AND tag = ?",
            params![terminal, tag],
        )?;
    }
    let added: Vec<&String> = after.tags.difference(&before.tags).collect();
    for tag in &added {
        w.execute(
            "INSERT INTO terminal_tags (terminal, tag) VALUES (?, ?)",
            params![terminal, tag],
        )?;
    }
    let subject = Subject {
        terminal: Some(terminal),
        ..Subject::default()
    };
    let detail = json!({"by": by, "attributes": changed, "tag": added, "untag": removed});
    events::add(w, now, subject, kind::LABELLED, &detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(attributes: &[(&str, &str)], tag: &[&str], untag: &[&str]) -> Change {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Change {
            attributes: attributes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
                .collect(),
            tag: own(tag),
            untag: own(untag),
        }
    }

    #[test]
    fn a_change_sets_and_removes_and_leaves_the_rest() {
        let before = change(&[("feeder", "F1"), ("ring", "R1")], &["hold", "old"], &[])
            .applied(&Labels::default())
            .unwrap();
        let after = change(
            &[("ring", ""), ("position", "7")],
            &["检修"],
            &["old", "none"],
        )
        .applied(&before)
        .unwrap();
        let expected = change(
            &[("feeder", "F1"), ("position", "7")],
            &["hold", "检修"],
            &[],
        )
        .applied(&Labels::default())
        .unwrap();
        assert_eq!(after, expected);
    }

    #[test]
    fn what_is_no_value_is_refused_with_its_name() {
        let long = "x".repeat(129);
        for (attributes, tag, reason) in [
            (&[("feedr", "F1")][..], &[][..], "'feedr' is no attribute"),
            (&[("feeder", long.as_str())], &[], "feeder: "),
            (&[("owner", "a\nb")], &[], "owner: "),
            (&[("owner", " a")], &[], "begins or ends with a blank"),
            (&[("position", "-1")], &[], "position: '-1' is no number"),
            (&[("zone", "Shanghai, China")], &[], "zone: "),
            (&[], &["a b"], "'a b' is no tag"),
            (&[], &[""], "'' is no tag"),
            (&[], &["a=b"], "'a=b' is no tag"),
        ] {
            let refused = change(attributes, tag, &[])
                .applied(&Labels::default())
                .unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
        let tags: Vec<String> = (0..65).map(|number| format!("t{number}")).collect();
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let refused = change(&[], &tags, &[]).applied(&Labels::default());
        assert!(refused.unwrap_err().contains("65 tags"));
    }
}
