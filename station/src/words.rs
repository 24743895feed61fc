//! The shared words, as the description of the REST interface lists them.

use crate::store::deltas::STATES;
use dau_model::{Kind, Outcome, State};
use utoipa::openapi::{Object, ObjectBuilder, Type};

/// Returns the schema of a kind.
pub fn kinds() -> Object {
    one_of(
        "What is upgraded.",
        Kind::ALL.iter().map(|kind| kind.word()),
    )
}

/// Returns the schema of a job's state.
pub fn states() -> Object {
    let words = State::ALL.iter().map(|state| state.word());
    one_of("How far the job is.", words)
}

/// Returns the schema of a job's outcome.
pub fn outcomes() -> Object {
    let words = Outcome::ALL.iter().map(|outcome| outcome.word());
    one_of("How the job ended.", words)
}

/// Returns the schema of a delta's state.
pub fn delta_states() -> Object {
    one_of("How far the delta is.", STATES.iter().copied())
}

fn one_of<'a>(description: &str, words: impl Iterator<Item = &'a str>) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .enum_values(Some(words))
        .build()
}

/// Where the words of results are explained to people.
const GUIDES: [&str; 2] = [
    include_str!("../../docs/operator-guide.md"),
    include_str!("../../docs/station.md"),
];

/// Returns what a word of a result means and what to do, as the operator guide says.
pub fn advice(word: &str) -> Option<String> {
    let wanted = format!("`{word}`");
    let rows = GUIDES.iter().flat_map(|guide| guide.lines());
    let mut cells = rows.filter_map(|row| {
        let mut cells = row.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        Some((cells.next()?, cells.next()?, cells.next()?))
    });
    let (_, meaning, action) =
        cells.find(|(words, ..)| words.split(", ").any(|word| word == wanted))?;
    Some(format!("{meaning}: {action}"))
}
