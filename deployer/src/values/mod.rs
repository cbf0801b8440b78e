//! Values of the chart: from files and options, over the chart's own, checked.
//!
//! What wins over what, and what `null` does, is as in Helm: files in their
//! order, then `--set-json`, `--set`, `--set-string`, `--set-file`. Every value
//! remembers where it was set.

mod check;
mod merge;
mod set;

use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::chart;
use crate::counted::are;
use crate::tree::{Data, Node, Origin, Source};
use crate::yaml::{self, ReadError};

pub use check::Problem;
pub use set::SetError;

/// What is to be set, as the command line says it.
#[derive(Clone, Default)]
pub struct Wanted {
    /// Value files; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// `--set-json`
    pub json: Vec<String>,
    /// `--set`
    pub set: Vec<String>,
    /// `--set-string`
    pub text: Vec<String>,
    /// `--set-file`
    pub from_file: Vec<String>,
    /// `--registry`: put before the name of every image.
    pub registry: Option<String>,
}

/// Why values cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ValuesError {
    /// A file could not be read.
    #[error("{name} cannot be read")]
    Unreadable {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A file is no YAML.
    #[error(transparent)]
    Yaml(#[from] ReadError),
    /// A file is YAML, but no map.
    #[error("{name} holds {kind}, not a map of values")]
    NoMap {
        /// The file.
        name: String,
        /// What it holds.
        kind: &'static str,
    },
    /// An option cannot be understood.
    #[error(transparent)]
    Set(#[from] SetError),
    /// The values are not what the chart takes.
    #[error("{} of the chart's values {} wrong", .0.len(), are(.0.len()))]
    Wrong(Vec<Problem>),
    /// The chart's own schema cannot be used, which a test rules out.
    #[error("the chart's schema cannot be used: {0}")]
    Schema(String),
}

impl Wanted {
    /// What is given, one over the other; without the chart's own, unchecked.
    ///
    /// # Errors
    /// Where something cannot be read or understood.
    pub fn read(&self) -> Result<Node, ValuesError> {
        let mut given = Node::empty(Origin::whole(Source::Defaults));
        for path in &self.files {
            merge::over(&mut given, read_file(path)?);
        }
        for text in &self.json {
            set::json(&mut given, text)?;
        }
        for text in &self.set {
            set::typed(&mut given, text)?;
        }
        for text in &self.text {
            set::text(&mut given, text)?;
        }
        for text in &self.from_file {
            set::from_file(&mut given, text)?;
        }
        Ok(given)
    }
}

/// Values that the chart takes.
#[derive(Clone, Debug)]
pub struct Values {
    given: Node,
    merged: Node,
}

impl Values {
    /// Reads what is wanted, puts it over the chart's own values and checks it.
    ///
    /// # Errors
    /// Where something cannot be read or understood, or the chart does not take
    /// it; then with all that is wrong.
    pub fn load(wanted: &Wanted) -> Result<Self, ValuesError> {
        Self::of(wanted.read()?, wanted.registry.as_deref())
    }

    /// As [`Self::load`], over values that are held: those of a release record.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_over(held: Value, source: Source, wanted: &Wanted) -> Result<Self, ValuesError> {
        let mut given = Node::from_json(held, &Origin::whole(source));
        merge::over(&mut given, wanted.read()?);
        Self::of(given, wanted.registry.as_deref())
    }

    /// Values given as JSON, as a release record holds them.
    ///
    /// # Errors
    /// Where the chart does not take them, with all that is wrong.
    pub fn from_json(given: Value, source: Source) -> Result<Self, ValuesError> {
        Self::of(Node::from_json(given, &Origin::whole(source)), None)
    }

    fn of(mut given: Node, registry: Option<&str>) -> Result<Self, ValuesError> {
        let defaults = chart::defaults()?;
        if let Some(registry) = registry {
            crate::images::put_registry(&mut given, &defaults, registry);
        }
        let merged = merge::under(given.clone(), defaults.clone());
        let problems = check::problems(&merged, &given, &defaults)?;
        if problems.is_empty() {
            Ok(Self { given, merged })
        } else {
            Err(ValuesError::Wrong(problems))
        }
    }

    /// What was given, without the chart's own: what a release record calls
    /// its config.
    #[must_use]
    pub fn given(&self) -> &Node {
        &self.given
    }

    /// All values, the chart's own among them.
    #[must_use]
    pub fn merged(&self) -> &Node {
        &self.merged
    }
}

/// Steps of a path as `--set` takes them: `a.b[0]`, a dot in a key escaped.
#[must_use]
pub fn path_text(steps: &[String]) -> String {
    let mut text = String::new();
    for step in steps {
        if step.bytes().all(|b| b.is_ascii_digit()) {
            text.push_str(&format!("[{step}]"));
            continue;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(&step.replace('.', "\\."));
    }
    text
}

/// What is shown in place of a secret.
pub const HIDDEN: &str = "(hidden)";

/// Whether what stands at a path is a secret by its name.
#[must_use]
pub fn is_password(path: &[String]) -> bool {
    const WORDS: [&str; 4] = ["passw", "private_key", "token", "proxy_server"];
    let lower = path_text(path).to_lowercase();
    WORDS.iter().any(|word| lower.contains(word))
}

/// Whether what stands at a path may be a secret, or hold one: no message shows
/// it.
#[must_use]
pub fn is_secret(path: &[String]) -> bool {
    const ROOMS: [&str; 6] = [
        "conf.maas.tls.key",
        "conf.curtin",
        "conf.cloudconfig",
        "conf.cache.env",
        "conf.maas.extra_settings",
        "extraObjects",
    ];
    let text = path_text(path);
    is_password(path)
        || ROOMS.iter().any(|room| {
            text.strip_prefix(room)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
}

/// Hides what may be a secret in a tree of values; `path` is where that stands.
pub fn hide(values: &mut Value, path: &mut Vec<String>) {
    let mut below = |step: String, value: &mut Value| {
        path.push(step);
        hide(value, path);
        path.pop();
    };
    match values {
        Value::Object(map) => map.iter_mut().for_each(|(key, value)| below(key.clone(), value)),
        Value::Array(list) => {
            list.iter_mut().enumerate().for_each(|(at, value)| below(at.to_string(), value));
        }
        Value::Null | Value::Bool(_) => {}
        Value::String(text) if text.is_empty() => {}
        _ => {
            if is_secret(path) {
                *values = Value::from(HIDDEN);
            }
        }
    }
}

fn read_file(path: &PathBuf) -> Result<Node, ValuesError> {
    let (source, text) = if path.as_os_str() == "-" {
        let mut text = String::new();
        let read = io::stdin().read_to_string(&mut text);
        (Source::Stdin, read.map(|_| text))
    } else {
        (Source::File(path.display().to_string()), fs::read_to_string(path))
    };
    let name = source.to_string();
    let text = text.map_err(|source| ValuesError::Unreadable { name: name.clone(), source })?;
    let source = Arc::new(source);
    let node = yaml::read(&text, &source)?;
    match node.data {
        Data::Map(_) => Ok(node),
        Data::Null => Ok(Node::empty(node.origin)),
        _ => Err(ValuesError::NoMap { name, kind: node.kind() }),
    }
}

#[cfg(test)]
mod tests;
