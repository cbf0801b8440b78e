//! The chart, rendered as `helm template` renders it.
//!
//! The engine is `gotmpl`; [`functions`] has what the chart needs of Helm's and
//! Sprig's functions. What the engine does otherwise than Go is evened out in
//! [`trees`], before anything runs.

mod engine;
mod functions;
mod json;
mod order;
mod trees;

use std::sync::Arc;

use serde_json::Value as Json;

use crate::chart;
use crate::manifest::Rendered;
use crate::values::Values;
use crate::yaml::ReadError;

use engine::Engine;

/// What a chart is rendered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseInfo {
    /// The release's name.
    pub name: String,
    /// The namespace that it is installed into.
    pub namespace: String,
    /// The number of the release's revision, from 1.
    pub revision: u64,
    /// Whether it is an upgrade, not an installation.
    pub is_upgrade: bool,
}

impl ReleaseInfo {
    /// A first installation.
    #[must_use]
    pub fn install(name: &str, namespace: &str) -> Self {
        let (name, namespace) = (name.to_owned(), namespace.to_owned());
        Self { name, namespace, revision: 1, is_upgrade: false }
    }
}

/// Why the chart cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The chart refuses these values, by `fail` or `required`.
    #[error("{0}")]
    Refused(String),
    /// A template asks for what is not there, or is no template.
    #[error("{place}: {reason}")]
    Template {
        /// The template, with the line where that is known.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// What a template rendered to is no YAML.
    #[error("{template} renders to what is no YAML")]
    Yaml {
        /// The template.
        template: String,
        /// Where, in what it rendered to.
        source: ReadError,
    },
}

/// Renders the chart.
///
/// # Errors
/// Where the chart refuses the values, or an object that they bring along
/// (`extraObjects`) cannot be rendered.
pub fn render(values: &Values, release: &ReleaseInfo) -> Result<Rendered, RenderError> {
    let chart = chart::metadata();
    let engine = Engine::new(chart::templates().map(|(path, text)| (named(path), text)))?;
    let root = json::root(&release_facts(release), chart, values.merged());
    let mut rendered = Rendered::default();
    for (path, _) in chart::templates() {
        if path.rsplit('/').next().is_some_and(|file| file.starts_with('_')) {
            continue;
        }
        let name = named(path);
        let text = engine.run(&name, &root)?;
        if path == "templates/NOTES.txt" {
            rendered.notes = text;
        } else {
            order::split(&name, &text, &mut rendered)?;
        }
    }
    order::sort(&mut rendered);
    Ok(rendered)
}

/// The name of a template in errors and in `# Source:` lines.
fn named(path: &str) -> String {
    format!("{}/{path}", chart::metadata().name)
}

/// What templates see as `.Release`.
fn release_facts(release: &ReleaseInfo) -> Json {
    serde_json::json!({
        "Name": release.name,
        "Namespace": release.namespace,
        "Revision": release.revision,
        "IsInstall": !release.is_upgrade,
        "IsUpgrade": release.is_upgrade,
        "Service": "Helm",
    })
}

/// Checks that every template can be parsed and names only functions and
/// templates that there are.
///
/// # Errors
/// With the first place where that is not so.
pub fn check_templates() -> Result<(), RenderError> {
    Engine::new(chart::templates().map(|(path, text)| (named(path), text))).map(drop)
}

/// The names of the functions that templates may use, sorted.
#[must_use]
pub fn function_names() -> Vec<&'static str> {
    functions::names()
}

type Shared<T> = Arc<std::sync::Mutex<T>>;

#[cfg(test)]
mod tests;
