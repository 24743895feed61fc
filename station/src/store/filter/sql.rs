//! Filters as conditions of SQL.

use super::{Expression, Field, Filter, Order, Pattern, Term};
use crate::store::sql::{ToValue, Value};
use crate::store::terminals::LIFE;

/// A condition on the row `t` of `terminals`.
#[derive(Debug)]
pub struct Condition<'f> {
    /// Begins with ` AND`, unless it is empty; its parameters are bare `?`.
    pub sql: String,
    /// Its parameters.
    pub values: Vec<Value<'f>>,
    since: i64,
}

impl Filter {
    /// Returns the condition that its terminals fulfil; those heard of at `since` or later can be
    /// online.
    pub(in crate::store) fn condition(&self, since: i64) -> Condition<'_> {
        let mut condition = Condition {
            sql: String::new(),
            values: Vec::new(),
            since,
        };
        for expression in &self.all {
            condition.sql.push_str(" AND ");
            condition.expression(expression);
        }
        condition
    }
}

impl<'f> Condition<'f> {
    fn expression(&mut self, expression: &'f Expression) {
        match expression {
            Expression::And(parts) => self.joined(parts, " AND "),
            Expression::Or(parts) => self.joined(parts, " OR "),
            Expression::Not(inner) => {
                self.sql.push_str("NOT ");
                self.expression(inner);
            }
            Expression::Term(Term::Is { field, values }) => self.is(*field, values),
            Expression::Term(Term::Order { field, order, key }) => self.order(*field, *order, key),
            Expression::Term(Term::Tag(tag)) => {
                self.sql
                    .push_str("(t.id IN (SELECT g.terminal FROM terminal_tags g WHERE ");
                self.matches("g.tag", std::iter::once(tag));
                self.sql.push_str("))");
            }
        }
    }

    fn joined(&mut self, parts: &'f [Expression], by: &str) {
        for (index, part) in parts.iter().enumerate() {
            self.sql.push_str(if index == 0 { "(" } else { by });
            self.expression(part);
        }
        self.sql.push(')');
    }

    fn is(&mut self, field: Field, values: &'f [Pattern]) {
        let column = match field {
            Field::Attribute(name) => return self.attribute_is(name, values),
            Field::Id => "t.id",
            Field::Product => "t.product",
            Field::Version => "t.version",
            Field::Kernel => "t.kernel",
            Field::Recovery => "t.recovery_version",
            Field::Life => LIFE,
            Field::Link => {
                // Once for all values, as it has a parameter.
                self.sql.push_str(
                    "(CASE WHEN t.link = 'up' AND coalesce(t.last_seen, 0) >= ? \
                     THEN 'online' ELSE 'offline' END IN (",
                );
                self.values.push(Value::Integer(self.since));
                self.list(values.iter().map(text));
                return self.sql.push(')');
            }
        };
        self.sql.push('(');
        self.matches(column, values);
        self.sql.push(')');
    }

    /// An attribute that a terminal does not have is empty.
    fn attribute_is(&mut self, name: &'static str, values: &'f [Pattern]) {
        let is_empty = |pattern: &&Pattern| text(pattern).is_empty();
        let some: Vec<&Pattern> = values.iter().filter(|value| !is_empty(value)).collect();
        let with = "t.id IN (SELECT a.terminal FROM terminal_attributes a WHERE a.name = ?";
        self.sql.push('(');
        if !some.is_empty() {
            self.sql.push_str(&format!("{with} AND ("));
            self.values.push(Value::Text(name));
            self.matches("a.value", some.iter().copied());
            self.sql.push_str("))");
        }
        if some.len() < values.len() {
            let or = if some.is_empty() { "" } else { " OR " };
            self.sql.push_str(&format!("{or}NOT {with})"));
            self.values.push(Value::Text(name));
        }
        self.sql.push(')');
    }

    /// Adds that the column is one of these, of which there is at least one.
    fn matches(&mut self, column: &str, values: impl IntoIterator<Item = &'f Pattern>) {
        let is_whole = |pattern: &&Pattern| matches!(pattern, Pattern::Whole(_));
        let (wholes, prefixes): (Vec<_>, Vec<_>) = values.into_iter().partition(is_whole);
        let mut or = "";
        if !wholes.is_empty() {
            self.sql.push_str(&format!("{column} IN ("));
            self.list(wholes.into_iter().map(text));
            or = " OR ";
        }
        for prefix in prefixes.into_iter().map(text) {
            let letters = prefix.chars().count();
            self.sql
                .push_str(&format!("{or}substr({column}, 1, {letters}) = ?"));
            self.values.push(Value::Text(prefix));
            or = " OR ";
        }
    }

    fn list(&mut self, values: impl Iterator<Item = &'f str>) {
        let mut comma = "";
        for value in values {
            self.sql.push_str(comma);
            self.sql.push('?');
            self.values.push(value.to_value());
            comma = ", ";
        }
        self.sql.push(')');
    }

    fn order(&mut self, field: Field, order: Order, key: &'f str) {
        let sign = match order {
            Order::Less => "<",
            Order::LessOrEqual => "<=",
            Order::Greater => ">",
            Order::GreaterOrEqual => ">=",
        };
        let column = match field {
            Field::Version => "t.version_key",
            Field::Kernel => "t.kernel_key",
            Field::Recovery => "t.recovery_key",
            Field::Attribute(name) => {
                self.sql.push_str(&format!(
                    "EXISTS (SELECT 1 FROM terminal_attributes a \
                     WHERE a.terminal = t.id AND a.name = ? AND a.sort_key {sign} ?)"
                ));
                return self.values.extend([Value::Text(name), Value::Text(key)]);
            }
            // The parser refuses these.
            Field::Id | Field::Product | Field::Link | Field::Life => {
                return self.sql.push_str("1 = 0")
            }
        };
        // An unknown one has no key, and no order.
        self.sql
            .push_str(&format!("({column} {sign} ? AND {column} > '')"));
        self.values.push(Value::Text(key));
    }
}

fn text(pattern: &Pattern) -> &str {
    match pattern {
        Pattern::Whole(text) | Pattern::Prefix(text) => text,
    }
}
