//! The point table: `address,kind,value,name` lines.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

/// Information object addresses have 3 bytes; 0 means "no address".
const MAX_ADDRESS: u32 = 0xff_ffff;
/// Most points; a larger table is probably a mistake.
const MAX_POINTS: usize = 4096;

/// The value of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// Single-point information.
    Single(bool),
    /// Measured value, short floating point number.
    Measured(f32),
}

/// A point.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Information object address.
    pub address: u32,
    pub value: Value,
    /// Name for people.
    pub name: String,
}

/// The points, single ones first, then by address.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Points(Vec<Point>);

impl Points {
    /// Reads the table; errors name the line.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text)
            .map_err(|(line, reason)| anyhow::anyhow!("{}:{line}: {reason}", path.display()))
    }

    /// Parses the table; an error is the number of the line and the reason.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut points = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = |reason: String| (index + 1, reason);
            let point = parse_line(line).map_err(at)?;
            let address = point.address;
            if points.insert(address, point).is_some() {
                return Err(at(format!("address {address} comes twice")));
            }
            if points.len() > MAX_POINTS {
                return Err(at(format!("more than {MAX_POINTS} points")));
            }
        }
        let mut points: Vec<Point> = points.into_values().collect();
        points.sort_by_key(|point| matches!(point.value, Value::Measured(_)));
        Ok(Points(points))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Point> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn parse_line(line: &str) -> Result<Point, String> {
    let mut fields = line.splitn(4, ',').map(str::trim);
    let (Some(address), Some(kind), Some(value), Some(name)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err("a line is 'address,kind,value,name'".to_owned());
    };
    let value = match kind {
        "single" => match value {
            "0" => Value::Single(false),
            "1" => Value::Single(true),
            _ => {
                return Err(format!(
                    "value '{value}' of a single point is neither 0 nor 1"
                ))
            }
        },
        "measured" => match value.parse() {
            Ok(number) if f32::is_finite(number) => Value::Measured(number),
            _ => return Err(format!("value '{value}' of a measured point is no number")),
        },
        _ => return Err(format!("kind '{kind}' is neither 'single' nor 'measured'")),
    };
    let address = address
        .parse()
        .ok()
        .filter(|number| (1..=MAX_ADDRESS).contains(number));
    Ok(Point {
        address: address.ok_or_else(|| format!("the address is not within 1 to {MAX_ADDRESS}"))?,
        value,
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_singles_first() {
        let table =
            "# c\n\n16385, measured, -1.5, current, phase A\n2,single,1,closed\n1,single,0,\n";
        let points = Points::parse(table).unwrap();
        let addresses: Vec<_> = points.iter().map(|point| point.address).collect();
        assert_eq!(addresses, [1, 2, 16385]);
        let last = points.iter().last().unwrap();
        assert_eq!(
            (last.value, last.name.as_str()),
            (Value::Measured(-1.5), "current, phase A")
        );
    }

    #[test]
    fn bad_lines_are_named() {
        for (line, reason) in [
            ("1,single,1", "address,kind,value,name"),
            ("0,single,1,x", "within 1 to"),
            ("16777216,single,1,x", "within 1 to"),
            ("x,single,1,x", "within 1 to"),
            ("1,double,1,x", "kind 'double'"),
            ("1,single,2,x", "neither 0 nor 1"),
            ("1,measured,NaN,x", "no number"),
            ("7,single,1,again", "comes twice"),
        ] {
            let (number, error) = Points::parse(&format!("7,single,0,x\n{line}\n")).unwrap_err();
            assert_eq!(number, 2);
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
