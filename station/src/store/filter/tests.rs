use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use dau_package::version::compare;
use dau_protocol::report::Upgradeable;
use dau_protocol::LinkUp;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::Value;

use super::*;
use crate::store::sql::params;
use crate::store::{labels, seen, terminals, tests, Error, Write};

/// The time since when a terminal must have been heard of to be online.
const SINCE: i64 = 1000;

#[test]
fn a_wrong_text_is_refused_where_it_is_wrong() {
    let deep = format!("{}id=x", "not ".repeat(40));
    let many = vec!["id=x"; 201].join(" or ");
    for (text, column, message) in [
        (
            "feedr=F1",
            1,
            "'feedr' is no field: use tag:NAME or one of id, product,",
        ),
        (
            "feeder",
            7,
            "expected =, !=, <, <=, >, >= or in, found the end",
        ),
        ("feeder=", 8, "expected a value, found the end"),
        (
            "feeder=F1 F2",
            11,
            "expected 'and', 'or' or the end, found 'F2'",
        ),
        (
            "feeder=F1 and",
            14,
            "expected a field, 'tag:', 'not' or '(', found the end",
        ),
        (
            "(feeder=F1 or id=x",
            19,
            "expected 'and', 'or' or ')', found the end",
        ),
        (
            "feeder in F1",
            11,
            "expected '(' and a list of values, found 'F1'",
        ),
        ("feeder in (F1, )", 16, "expected a value, found ')'"),
        ("feeder in (F1", 14, "expected ',' or ')', found the end"),
        (
            "owner=\"a b",
            7,
            "the text that begins here has no \" at its end",
        ),
        ("owner=检 and x=1", 13, "'x' is no field"),
        ("product<a", 8, "'product' has no order: use =, != or in"),
        (
            "version<1.*",
            9,
            "expected a whole value, which has an order",
        ),
        ("link=up", 6, "expected online or offline, found 'up'"),
        (
            "tag:",
            5,
            "expected the tag, directly behind 'tag:', found the end",
        ),
        ("feeder=*", 8, "expected a letter before '*'"),
        ("feeder=F1;", 8, ""),
        ("id=a\u{7}", 5, "'\\u{7}' has no meaning here"),
        (&deep, 133, "is nested deeper than 32"),
        (&many, 1601, "has more than 200 comparisons"),
        (&"x".repeat(5000), 1, "has 5000 bytes, more than 4096"),
    ] {
        match Filter::parse(text) {
            Ok(_) => assert_eq!(message, "", "{text}"),
            Err(error) => {
                assert_eq!(error.column, column, "{text}: {error}");
                assert!(error.message.starts_with(message), "{text}: {error}");
                assert_ne!(message, "", "{text}: {error}");
            }
        }
    }
}

/// A terminal, to look at without a database.
#[derive(Debug, Clone)]
struct Sample {
    id: String,
    product: String,
    version: String,
    online: bool,
    attributes: BTreeMap<String, String>,
    tags: BTreeSet<String>,
}

impl Sample {
    fn field(&self, name: &str) -> &str {
        match name {
            "id" => &self.id,
            "product" => &self.product,
            "version" | "kernel" | "recovery" => &self.version,
            "link" if self.online => "online",
            "link" => "offline",
            name => self.attributes.get(name).map_or("", String::as_str),
        }
    }

    fn store(&self, w: &Write<'_>) -> Result<(), Error> {
        let heard = if self.online { SINCE } else { SINCE - 1 };
        seen::heard(w, heard, [self.id.as_str()])?;
        let mut said = LinkUp::default();
        said.os.version.clone_from(&self.version);
        said.os.kernel.clone_from(&self.version);
        said.dau = Upgradeable {
            product: self.product.clone(),
            recovery_version: self.version.clone(),
            ..Upgradeable::default()
        };
        terminals::link_up(w, &self.id, &said, &Value::Null)?;
        let after = labels::Labels {
            attributes: self.attributes.clone(),
            tags: self.tags.clone(),
        };
        labels::replace(w, 0, &self.id, &labels::Labels::default(), &after, "alice")
    }
}

/// A filter as it is written, and what it means.
#[derive(Debug, Clone)]
enum Meaning {
    Compare(&'static str, &'static str, String),
    In(&'static str, Vec<String>),
    Begins(&'static str, String),
    Tag(String),
    Not(Box<Meaning>),
    Both(Box<Meaning>, Box<Meaning>),
    Either(Box<Meaning>, Box<Meaning>),
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

impl Meaning {
    fn text(&self) -> String {
        match self {
            Meaning::Compare(field, operator, value) => {
                format!("{field}{operator} {}", quoted(value))
            }
            Meaning::In(field, values) => {
                let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
                format!("{field} in ({})", values.join(","))
            }
            Meaning::Begins(field, value) => format!("{field}={value}*"),
            Meaning::Tag(tag) => format!("tag:{tag}"),
            Meaning::Not(inner) => format!("not ({})", inner.text()),
            Meaning::Both(one, two) => format!("({}) and ({})", one.text(), two.text()),
            Meaning::Either(one, two) => format!("({} OR {})", one.text(), two.text()),
        }
    }

    fn fits(&self, of: &Sample) -> bool {
        match self {
            Meaning::Compare(field, operator, value) => {
                let has = of.field(field);
                let order = match (has, value.as_str()) {
                    ("", _) => None,
                    (has, value) => Some(compare(has, value)),
                };
                match *operator {
                    "=" => has == value,
                    "!=" => has != value,
                    "<" => order == Some(Ordering::Less),
                    "<=" => order.is_some_and(Ordering::is_le),
                    ">" => order == Some(Ordering::Greater),
                    _ => order.is_some_and(Ordering::is_ge),
                }
            }
            Meaning::In(field, values) => values.iter().any(|value| value == of.field(field)),
            Meaning::Begins(field, value) => of.field(field).starts_with(value),
            Meaning::Tag(tag) => of.tags.contains(tag),
            Meaning::Not(inner) => !inner.fits(of),
            Meaning::Both(one, two) => one.fits(of) && two.fits(of),
            Meaning::Either(one, two) => one.fits(of) || two.fits(of),
        }
    }
}

/// Values that are all fields', so that many are met.
fn value() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "1.2", "1.10", "1.2~rc1", "1.02", "F1", "F12", "7", "10", "检修 1", "it's",
    ])
    .prop_map(str::to_owned)
}

const FIELDS: [&str; 9] = [
    "id", "product", "version", "kernel", "recovery", "feeder", "position", "owner", "zone",
];

fn meaning() -> impl Strategy<Value = Meaning> {
    let field = || prop::sample::select(FIELDS.to_vec());
    let ordered = prop::sample::select(FIELDS[2..].to_vec());
    let some = || prop_oneof![9 => value(), 1 => Just(String::new())];
    let order = prop::sample::select(vec!["<", "<=", ">", ">="]);
    let term = prop_oneof![
        (field(), prop::sample::select(vec!["=", "!="]), some())
            .prop_map(|(field, sign, value)| Meaning::Compare(field, sign, value)),
        (ordered, order, value())
            .prop_map(|(field, sign, value)| Meaning::Compare(field, sign, value)),
        (field(), prop::collection::vec(some(), 1..4))
            .prop_map(|(field, values)| Meaning::In(field, values)),
        (field(), "[1F检][.0-9]?").prop_map(|(field, value)| Meaning::Begins(field, value)),
        prop::sample::select(vec!["online", "offline"]).prop_map(|word| Meaning::Compare(
            "link",
            "=",
            word.to_owned()
        )),
        prop::sample::select(vec!["hold", "检修"]).prop_map(|tag| Meaning::Tag(tag.to_owned())),
    ];
    term.prop_recursive(4, 16, 2, |inner| {
        let pair = || (inner.clone(), inner.clone());
        prop_oneof![
            inner.clone().prop_map(|one| Meaning::Not(Box::new(one))),
            pair().prop_map(|(one, two)| Meaning::Both(Box::new(one), Box::new(two))),
            pair().prop_map(|(one, two)| Meaning::Either(Box::new(one), Box::new(two))),
        ]
    })
}

fn sample() -> impl Strategy<Value = Sample> {
    let maybe = || prop_oneof![1 => Just(String::new()), 2 => value()];
    let attributes = prop::collection::btree_map(
        prop::sample::select(vec!["feeder", "position", "owner"]).prop_map(str::to_owned),
        value(),
        0..4,
    );
    let tags = prop::sample::subsequence(vec!["hold".to_owned(), "检修".to_owned()], 0..3);
    (value(), maybe(), maybe(), any::<bool>(), attributes, tags).prop_map(
        |(id, product, version, online, attributes, tags)| Sample {
            id,
            product,
            version,
            online,
            attributes,
            tags: tags.into_iter().collect(),
        },
    )
}

fn random<T>(strategy: &impl Strategy<Value = T>, runner: &mut prop::test_runner::TestRunner) -> T {
    strategy.new_tree(runner).unwrap().current()
}

#[tokio::test]
async fn the_database_finds_what_a_look_at_each_terminal_finds() {
    let (_dir, store) = tests::store();
    let done = store.write(|w| {
        let runner = &mut prop::test_runner::TestRunner::default();
        let terminals: Vec<Sample> = (0..60)
            .map(|number| {
                let sample = random(&sample(), runner);
                let id = format!("{}-{number}", sample.id);
                Sample { id, ..sample }
            })
            .collect();
        for terminal in &terminals {
            terminal.store(w)?;
        }
        let (mut met, mut total) = (0, 0);
        for _ in 0..400 {
            let meaning = random(&meaning(), runner);
            let text = meaning.text();
            let filter = Filter::parse(&text).unwrap();
            let mut expected: Vec<&str> = terminals
                .iter()
                .filter(|terminal| meaning.fits(terminal))
                .map(|terminal| terminal.id.as_str())
                .collect();
            expected.sort_unstable();
            let found = terminals::ids(w, &filter, SINCE)?;
            assert_eq!(found, expected, "{text}");
            let mut paged = Vec::new();
            loop {
                let after: &str = paged.last().map_or("", String::as_str);
                let page = terminals::select(w, &filter, SINCE, after, 7)?;
                if page.is_empty() {
                    break;
                }
                for terminal in &page {
                    let sample = terminals.iter().find(|one| one.id == terminal.id).unwrap();
                    assert_eq!(terminal.attributes, sample.attributes);
                    assert_eq!(terminal.tags, sample.tags);
                }
                paged.extend(page.into_iter().map(|terminal| terminal.id));
            }
            assert_eq!(paged, found, "{text}");
            met += found.len();
            total += terminals.len();
        }
        // The filters told something.
        assert!(met > total / 10 && met < total * 9 / 10, "{met} of {total}");
        Ok::<_, Error>(())
    });
    done.await.unwrap();
}

proptest! {
    #[test]
    fn no_text_breaks_the_parser(
        text in "(feeder|tag:|id|in|and|or|not|[()=!<>,*'\" x检]){0,20}",
        end in any::<String>(),
    ) {
        for text in [text.clone(), text + &end] {
            if let Err(error) = Filter::parse(&text) {
                prop_assert!(error.column <= text.chars().count() + 1, "{}: {}", text, error);
            }
        }
    }

    #[test]
    fn what_is_parsed_becomes_one_statement(meaning in meaning()) {
        let filter = Filter::parse(&meaning.text()).unwrap();
        let condition = filter.condition(0);
        prop_assert_eq!(condition.sql.matches('?').count(), condition.values.len());
    }
}

/// A page of a filter that few terminals fit must not read all.
#[tokio::test]
async fn an_attribute_a_tag_and_a_product_are_found_by_an_index() {
    let (_dir, store) = tests::store();
    let checked = store.read(|r| {
        for (text, index) in [
            ("feeder=F1", "terminal_attributes_value"),
            ("feeder in (F1, F2) and product=p", "terminal_attributes_value"),
            ("tag:hold", "terminal_tags_tag"),
            ("product=p and version=1", "terminals_product_version"),
        ] {
            let filter = Filter::parse(text).unwrap();
            let condition = filter.condition(0);
            if !r.is_shared() {
                let explain = format!(
                    "EXPLAIN QUERY PLAN SELECT t.id FROM terminals t WHERE t.id > ''{} ORDER BY t.id",
                    condition.sql
                );
                let plan = r.all(&explain, &condition.values, |row| row.get::<String>(3))?;
                let plan = plan.join("; ");
                assert!(plan.contains(index) && !plan.contains("SCAN t"), "{text}: {plan}");
            }
        }
        r.one("SELECT 1", params![], |_| Ok(()))
    });
    checked.await.unwrap();
}
