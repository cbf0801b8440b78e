//! Values as a tree, each with the place where it was set.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Number, Value};

/// What a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The chart's own values.yaml.
    Defaults,
    /// A file, by the name it was given under.
    File(String),
    /// Standard input.
    Stdin,
    /// An option of the command line and the path that it sets; not the value,
    /// which may be a secret.
    Flag(String),
    /// What a template rendered to.
    Rendered(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => f.write_str("the chart's values.yaml"),
            Self::File(name) | Self::Flag(name) | Self::Rendered(name) => f.write_str(name),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// In what.
    pub source: Arc<Source>,
    /// The line, from 1; 0 where there are none.
    pub line: usize,
    /// The column, from 1; 0 where there are none.
    pub column: usize,
}

impl Origin {
    /// In something that has no lines.
    #[must_use]
    pub fn whole(source: Source) -> Self {
        Self { source: Arc::new(source), line: 0, column: 0 }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.source),
            line => write!(f, "{}:{line}", self.source),
        }
    }
}

/// What a value is. Numbers of YAML and JSON are floats, as they are in Helm;
/// those of `--set` are integers there.
#[derive(Clone, PartialEq)]
pub enum Data {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer of `--set`.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order in which it was written.
    Map(IndexMap<String, Node>),
}

/// A value and its origin. Its `Debug` shows no value: some are secrets.
#[derive(Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub data: Data,
    /// Where it was set; of a map that several set, the last.
    pub origin: Origin,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({} of {})", self.kind(), self.origin)
    }
}

impl Node {
    /// An empty map.
    #[must_use]
    pub fn empty(origin: Origin) -> Self {
        Self { data: Data::Map(IndexMap::new()), origin }
    }

    /// The map, where it is one.
    #[must_use]
    pub fn map(&self) -> Option<&IndexMap<String, Node>> {
        match &self.data {
            Data::Map(map) => Some(map),
            _ => None,
        }
    }

    /// What kind of value it is, in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.data {
            Data::Null => "null",
            Data::Bool(_) => "a boolean",
            Data::Int(_) | Data::Float(_) => "a number",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }

    /// The same as JSON. Whole numbers have no fraction.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Int(value) => Value::from(*value),
            Data::Float(value) => number(*value),
            Data::Text(text) => Value::from(text.as_str()),
            Data::List(list) => list.iter().map(Self::to_json).collect(),
            Data::Map(map) => {
                let pairs = map.iter().map(|(key, value)| (key.clone(), value.to_json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// A value of JSON, all of it of one origin.
    #[must_use]
    pub fn from_json(value: Value, origin: &Origin) -> Self {
        let data = match value {
            Value::Null => Data::Null,
            Value::Bool(value) => Data::Bool(value),
            Value::Number(number) => Data::Float(number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => Data::Text(text),
            Value::Array(list) => {
                Data::List(list.into_iter().map(|one| Self::from_json(one, origin)).collect())
            }
            Value::Object(map) => {
                let pairs = map.into_iter().map(|(key, one)| (key, Self::from_json(one, origin)));
                Data::Map(pairs.collect())
            }
        };
        Self { data, origin: origin.clone() }
    }

    /// How many values it holds, itself counted.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + match &self.data {
            Data::List(list) => list.iter().map(Self::count).sum(),
            Data::Map(map) => map.values().map(Self::count).sum(),
            _ => 0,
        }
    }
}

/// The largest whole number up to which every whole float is exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A float as a number of JSON, without a fraction where it is whole.
#[must_use]
pub fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and within 2^53")]
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_no_fraction() {
        assert_eq!(number(768.0).to_string(), "768");
        assert_eq!(number(-1.5).to_string(), "-1.5");
        assert_eq!(number(1e21).to_string(), "1e+21");
    }

    #[test]
    fn debug_shows_no_value() {
        let node = Node {
            data: Data::Text("hidden".to_owned()),
            origin: Origin::whole(Source::Flag("--set a".to_owned())),
        };
        assert_eq!(format!("{node:?}"), "Node(text of --set a)");
    }
}
