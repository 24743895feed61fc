//! What the words of results mean and what to do: the tables of the operator guide, for the page.

use std::collections::BTreeMap;

use serde::Serialize;

/// The languages and their guides.
pub const ALL: [(&str, &str); 2] = [
    ("en", include_str!("../../../../docs/operator-guide.md")),
    (
        "zh",
        include_str!("../../../../docs/operator-guide-words.zh-CN.md"),
    ),
];

/// The advice for a word, in Markdown.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Advice<'g> {
    meaning: &'g str,
    action: &'g str,
}

/// Reads the table whose head begins with `| word |`.
fn table(guide: &str) -> BTreeMap<&str, Advice<'_>> {
    let rows = guide
        .lines()
        .skip_while(|line| !line.starts_with("| word |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut table = BTreeMap::new();
    for row in rows {
        let mut cells = row.split('|').skip(1).map(str::trim);
        let (Some(words), Some(meaning), Some(action)) = (cells.next(), cells.next(), cells.next())
        else {
            continue;
        };
        for word in words.split('`').skip(1).step_by(2) {
            table.insert(word, Advice { meaning, action });
        }
    }
    table
}

/// Returns the table as JSON, by word.
pub fn json(guide: &str) -> String {
    serde_json::to_string(&table(guide)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dau_model::Word;
    use std::collections::BTreeSet;

    #[test]
    fn every_word_has_advice_in_every_language() {
        let all: BTreeSet<&str> = Word::ALL.iter().copied().collect();
        for (language, guide) in ALL {
            let table = table(guide);
            let told: BTreeSet<&str> = table.keys().copied().collect();
            let difference: Vec<_> = all.symmetric_difference(&told).collect();
            assert!(difference.is_empty(), "{language}: {difference:?}");
            for (word, Advice { meaning, action }) in &table {
                assert!(
                    !meaning.is_empty() && !action.is_empty(),
                    "{language}: {word}"
                );
            }
        }
        assert!(json(ALL[0].1).contains("\"signer-revoked\":{\"meaning\":"));
    }
}
