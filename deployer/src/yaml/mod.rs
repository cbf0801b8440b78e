//! YAML as Helm reads it: version 1.1's words for true and false, octal
//! numbers, keys that become text. A key that is given twice is an error here,
//! where Helm takes the last.

mod emit;
mod scalar;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use indexmap::IndexMap;

use crate::tree::{Data, Node, Origin, Source};

pub(crate) use emit::exponent;
pub use emit::{Order, emit};
pub(crate) use scalar::resolve;

/// How deep a document may be nested.
const DEPTH: usize = 100;
/// How many values a document may hold, those that aliases repeat counted.
const VALUES: usize = 100_000;

/// A text that is no YAML, or none that values can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}:{line}:{column}: {reason}")]
pub struct ReadError {
    /// The text's name.
    pub source_name: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
}

/// The documents of a text. An empty document is null.
///
/// # Errors
/// Where the text is no YAML, with the place.
pub fn read_all(text: &str, source: &Arc<Source>) -> Result<Vec<Node>, ReadError> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut reader = Reader::new(source);
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| reader.scan_error(&error))?;
        reader.take(event, &span)?;
    }
    Ok(reader.documents)
}

/// The one document of a text; null where there is none.
///
/// # Errors
/// Where the text is no YAML, or holds several documents.
pub fn read(text: &str, source: &Arc<Source>) -> Result<Node, ReadError> {
    let mut documents = read_all(text, source)?;
    if let Some(second) = documents.get(1) {
        let origin = &second.origin;
        return Err(ReadError {
            source_name: source.to_string(),
            line: origin.line,
            column: origin.column,
            reason: "a second document begins here: there must be one".to_owned(),
        });
    }
    let none = || Node {
        data: Data::Null,
        origin: Origin { source: Arc::clone(source), line: 1, column: 1 },
    };
    Ok(documents.pop().unwrap_or_else(none))
}

/// A list or a map that has not ended yet.
struct Open {
    data: Data,
    origin: Origin,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<String>,
    /// What `<<` brings in.
    merged: Vec<Node>,
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    values: usize,
    documents: Vec<Node>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Arc<Source>) -> Self {
        let (open, documents, anchors) = (Vec::new(), Vec::new(), HashMap::new());
        Self { source, open, anchors, values: 0, documents }
    }

    fn origin(&self, span: &Span) -> Origin {
        let (line, column) = (span.start.line(), span.start.col() + 1);
        Origin { source: Arc::clone(self.source), line, column }
    }

    fn error(&self, origin: &Origin, reason: impl Into<String>) -> ReadError {
        ReadError {
            source_name: self.source.to_string(),
            line: origin.line,
            column: origin.column,
            reason: reason.into(),
        }
    }

    fn scan_error(&self, error: &ScanError) -> ReadError {
        let mark = error.marker();
        let (line, column) = (mark.line(), mark.col() + 1);
        let origin = Origin { source: Arc::clone(self.source), line, column };
        self.error(&origin, error.info())
    }

    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), ReadError> {
        let origin = self.origin(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let data = self.scalar(&text, style, tag.as_deref(), &origin)?;
                self.end(Node { data, origin }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.begin(Data::List(Vec::new()), origin, anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                self.begin(Data::Map(IndexMap::new()), origin, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let mut node = Node { data: open.data, origin: open.origin };
                if let Data::Map(map) = &mut node.data {
                    merge(map, open.merged);
                }
                self.end(node, open.anchor)
            }
            Event::Alias(anchor) => {
                let unknown = || self.error(&origin, "this alias refers to what has not ended yet");
                let mut node = self.anchors.get(&anchor).cloned().ok_or_else(unknown)?;
                node.origin = origin;
                self.end(node, 0)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, data: Data, origin: Origin, anchor: usize) -> Result<(), ReadError> {
        if self.open.len() >= DEPTH {
            return Err(self.error(&origin, format!("nested deeper than {DEPTH} levels")));
        }
        self.open.push(Open { data, origin, anchor, key: None, merged: Vec::new() });
        Ok(())
    }

    /// Puts a value where it belongs: into a list, as a key or its value, or
    /// among the documents.
    fn end(&mut self, node: Node, anchor: usize) -> Result<(), ReadError> {
        self.values += node.count();
        if self.values > VALUES {
            return Err(self.error(&node.origin, format!("more than {VALUES} values")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(mut open) = self.open.pop() else {
            self.documents.push(node);
            return Ok(());
        };
        match &mut open.data {
            Data::List(list) => list.push(node),
            Data::Map(map) => match open.key.take() {
                None => open.key = Some(self.key(&node, map)?),
                Some(key) if key == MERGE => open.merged.extend(self.merged(node)?),
                Some(key) => {
                    map.insert(key, node);
                }
            },
            _ => {}
        }
        self.open.push(open);
        Ok(())
    }

    fn key(&self, node: &Node, map: &IndexMap<String, Node>) -> Result<String, ReadError> {
        let key = match &node.data {
            Data::Text(text) => text.clone(),
            Data::Bool(value) => value.to_string(),
            Data::Int(_) | Data::Float(_) => node.to_json().to_string(),
            Data::Null | Data::List(_) | Data::Map(_) => {
                return Err(self.error(&node.origin, format!("a key cannot be {}", node.kind())));
            }
        };
        if let Some(first) = map.get(&key) {
            let line = first.origin.line;
            let reason = format!("the key `{key}` is here for the second time, after line {line}");
            return Err(self.error(&node.origin, reason));
        }
        Ok(key)
    }

    fn merged(&self, node: Node) -> Result<Vec<Node>, ReadError> {
        let all = match node.data {
            Data::List(list) => list,
            _ => vec![node],
        };
        match all.iter().find(|one| one.map().is_none()) {
            Some(other) => Err(self.error(&other.origin, "`<<` takes maps")),
            None => Ok(all),
        }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        origin: &Origin,
    ) -> Result<Data, ReadError> {
        let tag = tag.map(|tag| Cow::from(format!("{}{}", tag.handle(), tag.suffix())));
        match tag.as_deref().and_then(|tag| tag.strip_prefix("tag:yaml.org,2002:")) {
            Some("str") => return Ok(Data::Text(text.to_owned())),
            Some("binary") => {
                return Err(self.error(origin, "`!!binary` is not taken: write the text itself"));
            }
            Some(_) => return Ok(resolve(text)),
            None => {}
        }
        Ok(match style {
            ScalarStyle::Plain => resolve(text),
            _ => Data::Text(text.to_owned()),
        })
    }
}

const MERGE: &str = "<<";

/// Adds what `<<` names: keys that are there win, and earlier maps.
fn merge(map: &mut IndexMap<String, Node>, merged: Vec<Node>) {
    for node in merged {
        let Data::Map(other) = node.data else { continue };
        for (key, value) in other {
            map.entry(key).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests;
