//! The grammar of `--set`, which is Helm's: `a.b=c,d[0].e={f,g}`.

use std::iter::Peekable;
use std::str::Chars;

use indexmap::IndexMap;
use serde_json::Value;

use crate::tree::{Data, Node, Origin, Source};

/// How deep a key may be nested.
const DEPTH: usize = 30;
/// The largest index of a list.
const INDEX: usize = 65_536;

/// An option that cannot be understood. It never shows the value.
#[derive(Debug, thiserror::Error)]
#[error("{flag}: {reason}")]
pub struct SetError {
    /// The option, and the key as far as it was read.
    pub flag: String,
    /// What is wrong.
    pub reason: String,
    /// What the system said, where a file could not be read.
    #[source]
    pub source: Option<std::io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Typed,
    Text,
    File,
    Json,
}

impl Kind {
    fn flag(self) -> &'static str {
        match self {
            Self::Typed => "--set",
            Self::Text => "--set-string",
            Self::File => "--set-file",
            Self::Json => "--set-json",
        }
    }
}

pub(super) fn typed(base: &mut Node, text: &str) -> Result<(), SetError> {
    pairs(base, text, Kind::Typed)
}

pub(super) fn text(base: &mut Node, text: &str) -> Result<(), SetError> {
    pairs(base, text, Kind::Text)
}

pub(super) fn from_file(base: &mut Node, text: &str) -> Result<(), SetError> {
    pairs(base, text, Kind::File)
}

/// `a.b={"c":1}`, or a whole map: `{"a":{"b":1}}`.
pub(super) fn json(base: &mut Node, text: &str) -> Result<(), SetError> {
    if !text.trim_start().starts_with('{') {
        return pairs(base, text, Kind::Json);
    }
    let value: Value = serde_json::from_str(text).map_err(|error| SetError {
        flag: Kind::Json.flag().to_owned(),
        reason: format!("no JSON: {}", described(&error)),
        source: None,
    })?;
    let origin = Origin::whole(Source::Flag(Kind::Json.flag().to_owned()));
    super::merge::over(base, Node::from_json(value, &origin));
    Ok(())
}

/// What serde says, without what stands there.
fn described(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        _ => "a sign that cannot stand there",
    };
    format!("{what}, at line {}, column {}", error.line(), error.column())
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

fn path_text(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

fn pairs(base: &mut Node, text: &str, kind: Kind) -> Result<(), SetError> {
    let mut parser = Parser { rest: text.chars().peekable(), kind, path: Vec::new() };
    while parser.rest.peek().is_some() {
        parser.path.clear();
        parser.path()?;
        let value = parser.value()?;
        let path = std::mem::take(&mut parser.path);
        let origin = Origin::whole(Source::Flag(format!("{} {}", kind.flag(), path_text(&path))));
        put(base, &path, value, &origin).map_err(|reason| SetError {
            flag: origin.source.to_string(),
            reason,
            source: None,
        })?;
    }
    Ok(())
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    kind: Kind,
    path: Vec<Step>,
}

impl Parser<'_> {
    fn error(&self, reason: impl Into<String>) -> SetError {
        let path = path_text(&self.path);
        let flag = format!("{} {path}", self.kind.flag()).trim_end().to_owned();
        SetError { flag, reason: reason.into(), source: None }
    }

    /// Signs up to one of `ends`, which is taken too; a backslash takes the
    /// meaning of the sign after it.
    fn until(&mut self, ends: &[char]) -> (String, Option<char>) {
        let mut text = String::new();
        while let Some(c) = self.rest.next() {
            if ends.contains(&c) {
                return (text, Some(c));
            }
            match c {
                '\\' => text.extend(self.rest.next()),
                c => text.push(c),
            }
        }
        (text, None)
    }

    /// The path up to its `=`.
    fn path(&mut self) -> Result<(), SetError> {
        loop {
            let (name, end) = self.until(&['=', '[', ',', '.']);
            if name.is_empty() {
                return Err(self.error("a key is empty"));
            }
            self.path.push(Step::Key(name));
            if self.path.len() > DEPTH {
                return Err(self.error(format!("more than {DEPTH} levels")));
            }
            match end {
                Some('=') => return Ok(()),
                Some('[') => self.index()?,
                Some('.') => {}
                _ => return Err(self.error("has no value: write KEY=VALUE")),
            }
            if matches!(self.path.last(), Some(Step::Index(_))) && self.after_index()? {
                return Ok(());
            }
        }
    }

    fn index(&mut self) -> Result<(), SetError> {
        let (digits, end) = self.until(&[']']);
        let index = digits.trim().parse::<usize>().ok().filter(|_| end.is_some());
        let index = index.ok_or_else(|| self.error("what stands in [ ] must be a number"))?;
        if index > INDEX {
            return Err(self.error(format!("an index may be {INDEX} at most")));
        }
        self.path.push(Step::Index(index));
        Ok(())
    }

    /// What follows an index: true where the value does.
    fn after_index(&mut self) -> Result<bool, SetError> {
        loop {
            match self.rest.next() {
                Some('=') => return Ok(true),
                Some('.') => return Ok(false),
                Some('[') => self.index()?,
                _ => return Err(self.error("has no value: write KEY=VALUE")),
            }
        }
    }

    fn value(&mut self) -> Result<Data, SetError> {
        match self.kind {
            Kind::Json => self.json(),
            kind => {
                if self.rest.peek() == Some(&'{') {
                    self.rest.next();
                    return self.list();
                }
                let (text, _) = self.until(&[',']);
                self.data(text, kind)
            }
        }
    }

    fn list(&mut self) -> Result<Data, SetError> {
        let mut items = Vec::new();
        loop {
            let (text, end) = self.until(&[',', '}']);
            match end {
                None => return Err(self.error("a list must end with }")),
                Some(_) => {
                    let data = self.data(text, self.kind)?;
                    items.push(Node { data, origin: Origin::whole(Source::Defaults) });
                }
            }
            if end == Some('}') {
                if self.rest.peek() == Some(&',') {
                    self.rest.next();
                }
                return Ok(Data::List(items));
            }
        }
    }

    fn json(&mut self) -> Result<Data, SetError> {
        let rest: String = self.rest.clone().collect();
        let mut stream = serde_json::Deserializer::from_str(&rest).into_iter::<Value>();
        let value = match stream.next() {
            Some(Ok(value)) => value,
            Some(Err(error)) => {
                return Err(self.error(format!("no JSON: {}", described(&error))));
            }
            None => Value::Null,
        };
        let used = rest.get(..stream.byte_offset()).map_or(0, |used| used.chars().count());
        self.rest.by_ref().take(used).for_each(drop);
        let (between, _) = self.until(&[',']);
        if !between.trim().is_empty() {
            return Err(self.error("more text behind the JSON"));
        }
        Ok(Node::from_json(value, &Origin::whole(Source::Defaults)).data)
    }

    fn data(&self, text: String, kind: Kind) -> Result<Data, SetError> {
        match kind {
            Kind::File => match std::fs::read_to_string(&text) {
                Ok(text) => Ok(Data::Text(text)),
                Err(error) => {
                    let reason = format!("{text} cannot be read");
                    Err(SetError { source: Some(error), ..self.error(reason) })
                }
            },
            Kind::Typed => Ok(guess(text)),
            Kind::Text | Kind::Json => Ok(Data::Text(text)),
        }
    }
}

/// The type that `--set` gives a text: a number with a zero before it is text.
fn guess(text: String) -> Data {
    if text.eq_ignore_ascii_case("true") {
        return Data::Bool(true);
    }
    if text.eq_ignore_ascii_case("false") {
        return Data::Bool(false);
    }
    if text.eq_ignore_ascii_case("null") {
        return Data::Null;
    }
    let number = text.parse().ok().filter(|_| text == "0" || !text.starts_with('0'));
    number.map_or(Data::Text(text), Data::Int)
}

/// Puts a value at a path; maps and lists on the way are made, or kept.
fn put(at: &mut Node, path: &[Step], value: Data, origin: &Origin) -> Result<(), String> {
    let Some((step, rest)) = path.split_first() else {
        *at = of_one_origin(value, origin);
        return Ok(());
    };
    let null = || Node { data: Data::Null, origin: origin.clone() };
    let was = at.kind();
    let next = match (step, &mut at.data) {
        (Step::Key(key), Data::Map(map)) => map.entry(key.clone()).or_insert_with(null),
        (Step::Index(index), Data::List(list)) => {
            while list.len() <= *index {
                list.push(null());
            }
            list.get_mut(*index).ok_or_else(String::new)?
        }
        (Step::Key(key), data @ Data::Null) => {
            *data = Data::Map(IndexMap::new());
            let Data::Map(map) = data else { return Ok(()) };
            map.entry(key.clone()).or_insert_with(null)
        }
        (Step::Index(_), data @ Data::Null) => {
            *data = Data::List(Vec::new());
            return put(at, path, value, origin);
        }
        (Step::Key(key), _) => return Err(format!("`{key}` is below {was}, not below a map")),
        (Step::Index(index), _) => return Err(format!("[{index}] is in {was}, not in a list")),
    };
    put(next, rest, value, origin)
}

fn of_one_origin(data: Data, origin: &Origin) -> Node {
    let data = match data {
        Data::List(list) => {
            Data::List(list.into_iter().map(|one| of_one_origin(one.data, origin)).collect())
        }
        Data::Map(map) => {
            let pairs = map.into_iter().map(|(key, one)| (key, of_one_origin(one.data, origin)));
            Data::Map(pairs.collect())
        }
        data => data,
    };
    Node { data, origin: origin.clone() }
}
