//! Values against the chart's schema, and what a person is told of them.

use std::fmt;

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use super::{ValuesError, is_secret, path_text};
use crate::chart;
use crate::counted::counted;
use crate::tree::{Data, Node, Origin, Source};

/// The keyword beside a `pattern` in the schema that says in words what it accepts, to be read
/// after "it must be". Validators pass over keywords that they do not know.
const ACCEPTS: &str = "accepts";

/// A value that the chart does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its path: `conf.cache.port`.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
    /// Where it was set, if it was.
    pub origin: Option<Origin>,
    /// What may have been meant.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        match self.path.as_str() {
            "" => write!(f, "the values: {}", self.what)?,
            path => write!(f, "{path} {}", self.what)?,
        }
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// All that is wrong with values: merged ones, checked as a whole; what was
/// given, and the chart's own, to say why.
pub(super) fn problems(
    merged: &Node,
    given: &Node,
    defaults: &Node,
) -> Result<Vec<Problem>, ValuesError> {
    let broken = |reason: String| ValuesError::Schema(reason);
    let text = chart::file("values.schema.json");
    let schema: Value = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    let validator = jsonschema::draft7::new(&schema).map_err(|error| broken(error.to_string()))?;
    let json = merged.to_json();
    let checker = Checker { schema: &schema, merged, given, defaults };
    let mut found = Vec::new();
    for error in validator.iter_errors(&json) {
        checker.explain(&error, &mut found);
    }
    found.dedup();
    Ok(found)
}

struct Checker<'a> {
    schema: &'a Value,
    merged: &'a Node,
    given: &'a Node,
    defaults: &'a Node,
}

/// The steps of a JSON pointer.
fn steps(pointer: &str) -> Vec<String> {
    let steps = pointer.split('/').skip(1);
    steps.map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

fn find<'a>(node: &'a Node, steps: &[String]) -> Option<&'a Node> {
    steps.iter().try_fold(node, |node, step| match &node.data {
        Data::Map(map) => map.get(step),
        Data::List(list) => list.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Where a value was set, unless it is the chart's own.
fn set_at(node: Option<&Node>) -> Option<Origin> {
    let origin = &node?.origin;
    (*origin.source != Source::Defaults).then(|| origin.clone())
}

impl Checker<'_> {
    fn explain(&self, error: &ValidationError<'_>, found: &mut Vec<Problem>) {
        let path = steps(error.instance_path().as_str());
        match error.kind() {
            Kind::AdditionalProperties { unexpected } => {
                let known = self.known(error.schema_path().as_str());
                found.extend(unexpected.iter().map(|key| self.unknown(&path, key, &known)));
            }
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                found.push(self.missing(&path, key));
            }
            Kind::PropertyNames { error: of_name } => {
                let key = of_name.instance().as_str().unwrap_or_default();
                found.push(self.misnamed(&path, key, of_name));
            }
            kind => {
                let node = find(self.merged, &path);
                let accepts = self.accepts(error);
                let (what, hint) = wrong(kind, error, accepts, node, is_secret(&path));
                let origin = set_at(node);
                found.push(Problem { path: path_text(&path), what, origin, hint });
            }
        }
    }

    /// In words, what the pattern accepts that an error is of.
    fn accepts(&self, error: &ValidationError<'_>) -> Option<&str> {
        let (parent, _) = error.schema_path().as_str().rsplit_once('/')?;
        self.schema.pointer(parent)?.get(ACCEPTS)?.as_str()
    }

    /// A key that may be any of a kind, and is not of it.
    fn misnamed(&self, path: &[String], key: &str, error: &ValidationError<'_>) -> Problem {
        let path: Vec<String> = path.iter().cloned().chain([key.to_owned()]).collect();
        let origin = set_at(find(self.merged, &path));
        let accepts = self.accepts(error).unwrap_or("another one").to_owned();
        let what = format!("has a name that cannot be; it must be {accepts}");
        Problem { path: path_text(&path), what, origin, hint: None }
    }

    /// The keys that stand beside `additionalProperties`.
    fn known(&self, schema_path: &str) -> Vec<&str> {
        let parent = schema_path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let properties = self.schema.pointer(parent).and_then(|schema| schema.get("properties"));
        let all = properties.and_then(Value::as_object).into_iter().flatten();
        // What the earlier chart had is taken, but means nothing.
        let ignored = "#/definitions/ignored";
        all.filter(|(_, schema)| schema.get("$ref").and_then(Value::as_str) != Some(ignored))
            .map(|(key, _)| key.as_str())
            .collect()
    }

    fn unknown(&self, path: &[String], key: &str, known: &[&str]) -> Problem {
        let mut path = path.to_vec();
        path.push(key.to_owned());
        let near = known
            .iter()
            .map(|known| (strsim::jaro_winkler(&key.to_lowercase(), &known.to_lowercase()), known))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|(a, _), (b, _)| a.total_cmp(b));
        let hint = match near {
            Some((_, near)) => Some(format!("did you mean `{near}`?")),
            None => self.elsewhere(key).map(|path| format!("did you mean `{path}`?")),
        };
        let origin = set_at(find(self.merged, &path));
        let what = "is no key of the chart".to_owned();
        Problem { path: path_text(&path), what, origin, hint }
    }

    /// Where else the chart has a key of that name, if at one place alone.
    fn elsewhere(&self, key: &str) -> Option<String> {
        fn walk(node: &Node, path: &mut Vec<String>, key: &str, found: &mut Vec<String>) {
            for (name, node) in node.map().into_iter().flatten() {
                path.push(name.clone());
                if name == key {
                    found.push(path_text(path));
                }
                walk(node, path, key, found);
                path.pop();
            }
        }
        let mut found = Vec::new();
        walk(self.defaults, &mut Vec::new(), key, &mut found);
        if found.len() == 1 { found.pop() } else { None }
    }

    fn missing(&self, path: &[String], key: &str) -> Problem {
        let mut path = path.to_vec();
        path.push(key.to_owned());
        let given = find(self.given, &path);
        let deleted = given.is_some_and(|node| node.data == Data::Null);
        let (what, hint) = if deleted {
            let hint = "leave the key out, or give it a value".to_owned();
            ("is set to null, which deletes its default, but it is needed", Some(hint))
        } else {
            ("is needed, and missing", None)
        };
        let parent = path.split_last().and_then(|(_, parent)| find(self.merged, parent));
        let origin = set_at(given).or_else(|| set_at(parent));
        Problem { path: path_text(&path), what: what.to_owned(), origin, hint }
    }
}

fn wrong(
    kind: &Kind,
    error: &ValidationError<'_>,
    accepts: Option<&str>,
    node: Option<&Node>,
    secret: bool,
) -> (String, Option<String>) {
    let there = there(error.instance(), node, secret);
    let allowed = match kind {
        Kind::Type { kind } => {
            let (allowed, hint) = types(kind, node);
            return (format!("is {there}; it must be {allowed}"), hint);
        }
        Kind::Enum { options } => {
            let all = options.as_array().into_iter().flatten().map(Value::to_string);
            format!("must be one of {}", all.collect::<Vec<_>>().join(", "))
        }
        Kind::Minimum { limit } => format!("must be {limit} or more"),
        Kind::Maximum { limit } => format!("must be {limit} or less"),
        Kind::MinLength { limit: 1 } => "must not be empty".to_owned(),
        Kind::MinLength { limit } => format!("must have {} or more", counted(*limit, "sign")),
        Kind::MaxLength { limit } => format!("must have {} or fewer", counted(*limit, "sign")),
        Kind::MinItems { limit } => format!("must have {} or more", counted(*limit, "entry")),
        Kind::MaxItems { limit: 0 } => "must be empty".to_owned(),
        Kind::MaxItems { limit } => format!("must have {} or fewer", counted(*limit, "entry")),
        Kind::Pattern { pattern } => accepts.map_or_else(
            || format!("must match the pattern {pattern}"),
            |accepts| format!("must be {accepts}"),
        ),
        _ => error.masked().to_string(),
    };
    (format!("is {there}; it {allowed}"), None)
}

/// What is there, in a few words.
fn there(value: &Value, node: Option<&Node>, secret: bool) -> String {
    let kind = node.map_or("there", Node::kind);
    match value {
        Value::Null => "null".to_owned(),
        Value::Object(_) => kind.to_owned(),
        Value::Array(list) if list.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => kind.to_owned(),
        Value::String(text) if text.is_empty() => "an empty text".to_owned(),
        _ if secret => kind.to_owned(),
        value => {
            let text = value.to_string();
            let short: String = text.chars().take(60).collect();
            let dots = if short.len() < text.len() { "…" } else { "" };
            format!("{kind}, {short}{dots}")
        }
    }
}

fn types(kind: &TypeKind, node: Option<&Node>) -> (String, Option<String>) {
    let allowed: Vec<JsonType> = match kind {
        TypeKind::Single(one) => vec![*one],
        TypeKind::Multiple(all) => all.iter().collect(),
    };
    let data = node.map(|node| &node.data);
    let hint = match data {
        Some(Data::Bool(_)) if allowed.contains(&JsonType::String) => {
            Some("YAML takes yes, no, on and off for true and false: put a text in quotes")
        }
        Some(Data::Int(_) | Data::Float(_)) if allowed.contains(&JsonType::String) => {
            Some("put a number that is meant as text in quotes, or use --set-string")
        }
        Some(Data::Text(text)) if wants_other(&allowed, text) => Some("leave out the quotes"),
        _ => None,
    };
    let words: Vec<&str> = allowed.iter().map(|one| word(*one)).collect();
    (words.join(" or "), hint.map(str::to_owned))
}

/// Whether a text would be taken if it were not quoted.
fn wants_other(allowed: &[JsonType], text: &str) -> bool {
    let wants = |one: JsonType| allowed.contains(&one);
    match crate::yaml::resolve(text) {
        Data::Bool(_) => wants(JsonType::Boolean),
        Data::Float(_) => wants(JsonType::Integer) || wants(JsonType::Number),
        _ => false,
    }
}

fn word(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Null => "null",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "text",
        JsonType::Array => "a list",
        JsonType::Object => "a map",
    }
}
