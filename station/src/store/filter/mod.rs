//! Filters: which terminals are meant, in one small language for REST, command line and page.
//!
//! ```text
//! product=dtu-4 and feeder in (F1, F2) and version<1.2 and not tag:hold
//! ```
//!
//! A term compares a field with values, or asks for a tag; `and`, `or`, `not` and parentheses join
//! terms. What a terminal does not have counts as an empty text, which has no order: `feeder!=F1` and
//! `feeder=""` hold for a terminal without a feeder, `feeder<F1` does not. docs/station.md has the
//! language.
//!
//! - `parse`: the text, without any I/O
//! - `sql`: the condition that both databases understand

mod parse;
mod sql;

use super::labels;
use super::terminals::life;

/// Longest text of a filter, bytes.
pub const MAX_TEXT: usize = 4096;
/// Most terms in a filter.
const MAX_TERMS: usize = 200;
/// Most `not` and `(` around a term.
const MAX_DEPTH: usize = 32;

/// A filter of terminals; the default one fits all.
///
/// ```text
/// let filter = Filter::parse("feeder=F12 and not tag:hold")?;
/// let page = terminals::select(r, &filter, online_since, "", 1000)?;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// All of these hold.
    all: Vec<Expression>,
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter, column {column}: {message}")]
pub struct FilterError {
    /// The character that is refused, counted from 1.
    pub column: usize,
    /// What was expected, and what was found.
    pub message: String,
}

impl Filter {
    /// Parses a filter; an empty text, or one of blanks, fits all terminals.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        Ok(Filter {
            all: parse::parse(text)?.into_iter().collect(),
        })
    }

    /// Returns a filter for those of its terminals whose field has this value.
    pub fn and(mut self, field: Field, value: &str) -> Self {
        let values = vec![Pattern::Whole(value.to_owned())];
        self.all.push(Expression::Term(Term::Is { field, values }));
        self
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
    Term(Term),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    /// The field has one of these values.
    Is {
        field: Field,
        values: Vec<Pattern>,
    },
    /// The field stands so to what has this key, in the order of versions.
    Order {
        field: Field,
        order: Order,
        key: String,
    },
    Tag(Pattern),
}

/// A text that is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Whole(String),
    /// What begins so, written with `*` at the end.
    Prefix(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a filter can compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Id,
    Product,
    Version,
    Kernel,
    Recovery,
    Link,
    Life,
    /// One of [`labels::NAMES`].
    Attribute(&'static str),
}

impl Field {
    const OWN: [(&'static str, Field); 7] = [
        ("id", Field::Id),
        ("product", Field::Product),
        ("version", Field::Version),
        ("kernel", Field::Kernel),
        ("recovery", Field::Recovery),
        ("link", Field::Link),
        ("life", Field::Life),
    ];

    fn of(name: &str) -> Option<Self> {
        let own = Self::OWN.iter().find(|(own, _)| *own == name);
        let attribute = labels::NAMES.iter().find(|known| **known == name);
        own.map(|(_, field)| *field)
            .or_else(|| attribute.map(|name| Field::Attribute(name)))
    }

    /// Returns the names of all fields.
    fn names() -> String {
        let own = Self::OWN.iter().map(|(name, _)| *name);
        own.chain(labels::NAMES).collect::<Vec<_>>().join(", ")
    }

    fn has_order(self) -> bool {
        !matches!(self, Field::Id | Field::Product | Field::Link | Field::Life)
    }

    /// Returns the only values that it has, if they are few.
    fn words(self) -> Option<&'static [&'static str]> {
        match self {
            Field::Link => Some(&["online", "offline"]),
            Field::Life => Some(&life::WORDS),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
