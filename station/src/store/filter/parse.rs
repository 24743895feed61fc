//! The language of filters.
//!
//! ```text
//! expression = conjunction { "or" conjunction }
//! conjunction = unary { "and" unary }
//! unary = "not" unary | "(" expression ")" | term
//! term = "tag:" value | field operator value | field "in" "(" value { "," value } ")"
//! ```

use dau_package::version::sort_key;

use super::{Expression, Field, FilterError, Order, Pattern, Term, MAX_DEPTH, MAX_TERMS, MAX_TEXT};

/// Parses a text; `None`: it is empty.
pub fn parse(text: &str) -> Result<Option<Expression>, FilterError> {
    if text.len() > MAX_TEXT {
        return Err(FilterError {
            column: 1,
            message: format!("has {} bytes, more than {MAX_TEXT}", text.len()),
        });
    }
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
        terms: 0,
    };
    if parser.peek() == &Token::End {
        return Ok(None);
    }
    let expression = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(Some(expression)),
        _ => Err(parser.expected("'and', 'or' or the end")),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Comma,
    Operator(&'static str),
    /// Letters up to a blank, an operator, a comma or a parenthesis.
    Word(String),
    Quoted(String),
    End,
}

/// Longest first.
const OPERATORS: [&str; 6] = ["!=", "<=", ">=", "=", "<", ">"];

fn is_of_word(letter: char) -> bool {
    !letter.is_whitespace() && !letter.is_control() && !"()=!<>,\"'".contains(letter)
}

/// Returns the tokens, each with its column.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    let mut found = Vec::new();
    let (mut rest, mut column) = (text, 1_usize);
    loop {
        let trimmed = rest.trim_start();
        column = column.saturating_add(letters(rest, trimmed));
        rest = trimmed;
        let Some(first) = rest.chars().next() else {
            found.push((column, Token::End));
            return Ok(found);
        };
        let operator = OPERATORS
            .iter()
            .find(|operator| rest.starts_with(**operator));
        let (token, after) = match first {
            '(' => (Token::Open, behind(rest, first)),
            ')' => (Token::Close, behind(rest, first)),
            ',' => (Token::Comma, behind(rest, first)),
            '"' | '\'' => quoted(behind(rest, first), first).ok_or_else(|| FilterError {
                column,
                message: format!("the text that begins here has no {first} at its end"),
            })?,
            first if is_of_word(first) => {
                let (word, after) =
                    rest.split_at(rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()));
                (Token::Word(word.to_owned()), after)
            }
            _ => match operator {
                Some(operator) => (
                    Token::Operator(operator),
                    rest.strip_prefix(operator).unwrap_or_default(),
                ),
                None => {
                    return Err(FilterError {
                        column,
                        message: format!("{first:?} has no meaning here"),
                    })
                }
            },
        };
        found.push((column, token));
        column = column.saturating_add(letters(rest, after));
        rest = after;
    }
}

/// Returns how many letters lie between the beginnings of a text and of its end.
fn letters(text: &str, end: &str) -> usize {
    let between = text.len().saturating_sub(end.len());
    text.get(..between).unwrap_or_default().chars().count()
}

fn behind(text: &str, first: char) -> &str {
    text.strip_prefix(first).unwrap_or_default()
}

/// Reads a text up to the next quote; two of them stand for one.
fn quoted(text: &str, quote: char) -> Option<(Token, &str)> {
    let (mut value, mut rest) = (String::new(), text);
    loop {
        let (part, after) = rest.split_once(quote)?;
        value.push_str(part);
        match after.strip_prefix(quote) {
            Some(more) => {
                value.push(quote);
                rest = more;
            }
            None => return Some((Token::Quoted(value), after)),
        }
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    terms: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens
            .get(self.at)
            .map_or(&Token::End, |(_, token)| token)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.at = self.at.saturating_add(1);
        token
    }

    /// Takes the next token if it is this word, in small or capital letters.
    fn take_word(&mut self, wanted: &str) -> bool {
        let is = matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(wanted));
        if is {
            self.take();
        }
        is
    }

    /// Returns the error for the next token.
    fn refuse(&self, message: String) -> FilterError {
        let last = self.tokens.last();
        let column = self.tokens.get(self.at).or(last);
        FilterError {
            column: column.map_or(1, |(column, _)| *column),
            message,
        }
    }

    fn expected(&self, what: &str) -> FilterError {
        let found = match self.peek() {
            Token::Open => "'('".to_owned(),
            Token::Close => "')'".to_owned(),
            Token::Comma => "','".to_owned(),
            Token::Operator(operator) => format!("'{operator}'"),
            Token::Word(text) | Token::Quoted(text) => {
                format!("'{}'", dau_protocol::shortened(text, 40))
            }
            Token::End => "the end".to_owned(),
        };
        self.refuse(format!("expected {what}, found {found}"))
    }

    fn expression(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut parts = vec![self.conjunction(depth)?];
        while self.take_word("or") {
            parts.push(self.conjunction(depth)?);
        }
        Ok(joined(parts, Expression::Or))
    }

    fn conjunction(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut parts = vec![self.unary(depth)?];
        while self.take_word("and") {
            parts.push(self.unary(depth)?);
        }
        Ok(joined(parts, Expression::And))
    }

    fn unary(&mut self, depth: usize) -> Result<Expression, FilterError> {
        if depth > MAX_DEPTH {
            return Err(self.refuse(format!("is nested deeper than {MAX_DEPTH}")));
        }
        let deeper = depth.saturating_add(1);
        if self.take_word("not") {
            return Ok(Expression::Not(Box::new(self.unary(deeper)?)));
        }
        if self.peek() != &Token::Open {
            return self.term();
        }
        self.take();
        let inner = self.expression(deeper)?;
        match self.peek() {
            Token::Close => self.take(),
            _ => return Err(self.expected("'and', 'or' or ')'")),
        };
        Ok(inner)
    }

    fn term(&mut self) -> Result<Expression, FilterError> {
        let Token::Word(name) = self.peek().clone() else {
            return Err(self.expected("a field, 'tag:', 'not' or '('"));
        };
        self.terms = self.terms.saturating_add(1);
        if self.terms > MAX_TERMS {
            return Err(self.refuse(format!("has more than {MAX_TERMS} comparisons")));
        }
        if let Some(tag) = name.strip_prefix("tag:") {
            return self.tag(tag).map(Expression::Term);
        }
        let field = Field::of(&name).ok_or_else(|| {
            let name = dau_protocol::shortened(&name, 40);
            let message = format!(
                "'{name}' is no field: use tag:NAME or one of {}",
                Field::names()
            );
            self.refuse(message)
        })?;
        self.take();
        if self.take_word("in") {
            let values = self.list(field)?;
            return Ok(Expression::Term(Term::Is { field, values }));
        }
        let Token::Operator(operator) = *self.peek() else {
            return Err(self.expected("=, !=, <, <=, >, >= or in"));
        };
        let order = match operator {
            "<" => Order::Less,
            "<=" => Order::LessOrEqual,
            ">" => Order::Greater,
            ">=" => Order::GreaterOrEqual,
            _ => {
                self.take();
                let values = vec![self.pattern(field)?];
                let is = Expression::Term(Term::Is { field, values });
                return Ok(match operator {
                    "!=" => Expression::Not(Box::new(is)),
                    _ => is,
                });
            }
        };
        if !field.has_order() {
            return Err(self.refuse(format!("'{name}' has no order: use =, != or in")));
        }
        self.take();
        let key = match self.pattern(field)? {
            Pattern::Whole(value) if !value.is_empty() => sort_key(&value),
            _ => {
                self.at = self.at.saturating_sub(1);
                return Err(self.expected("a whole value, which has an order"));
            }
        };
        Ok(Expression::Term(Term::Order { field, order, key }))
    }

    /// Parses what follows `tag:`; the beginning of a tag may be in the same word.
    fn tag(&mut self, tag: &str) -> Result<Term, FilterError> {
        if !tag.is_empty() {
            let tag = self.written(tag.to_owned())?;
            self.take();
            return Ok(Term::Tag(tag));
        }
        self.take();
        match self.peek().clone() {
            Token::Quoted(tag) if !tag.is_empty() => {
                self.take();
                Ok(Term::Tag(Pattern::Whole(tag)))
            }
            _ => Err(self.expected("the tag, directly behind 'tag:'")),
        }
    }

    fn list(&mut self, field: Field) -> Result<Vec<Pattern>, FilterError> {
        match self.peek() {
            Token::Open => self.take(),
            _ => return Err(self.expected("'(' and a list of values")),
        };
        let mut values = vec![self.pattern(field)?];
        loop {
            match self.peek() {
                Token::Comma => self.take(),
                Token::Close => {
                    self.take();
                    return Ok(values);
                }
                _ => return Err(self.expected("',' or ')'")),
            };
            values.push(self.pattern(field)?);
        }
    }

    fn pattern(&mut self, field: Field) -> Result<Pattern, FilterError> {
        let pattern = match self.peek().clone() {
            Token::Word(text) => self.written(text)?,
            Token::Quoted(text) => Pattern::Whole(text),
            _ => return Err(self.expected("a value")),
        };
        let of_words = |words: &&[&str]| !matches!(&pattern, Pattern::Whole(value) if words.contains(&value.as_str()));
        if let Some(words) = field.words().filter(of_words) {
            return Err(self.expected(&words.join(" or ")));
        }
        self.take();
        Ok(pattern)
    }

    /// Returns what a word without quotes stands for.
    fn written(&self, word: String) -> Result<Pattern, FilterError> {
        match word.strip_suffix('*') {
            None => Ok(Pattern::Whole(word)),
            Some("") => Err(self.expected("a letter before '*' (any value at all: != \"\")")),
            Some(prefix) => Ok(Pattern::Prefix(prefix.to_owned())),
        }
    }
}

/// Joins the parts, unless there is only one.
fn joined(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => join(parts),
    }
}
