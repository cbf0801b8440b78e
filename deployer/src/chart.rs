//! The chart, as it is held in the program.

use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::tree::{Node, Source};
use crate::yaml::{self, ReadError};

/// Every file of the chart but those that `.helmignore` names, sorted: its path
/// in the chart, and its text.
pub static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/chart.rs"));

/// The text of a file of the chart; empty where there is none.
#[must_use]
pub fn file(path: &str) -> &'static str {
    FILES.iter().find(|(name, _)| *name == path).map_or("", |(_, text)| text)
}

/// The templates, `templates/NOTES.txt` among them: paths in the chart, and texts.
pub fn templates() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().copied().filter(|(name, _)| name.starts_with("templates/"))
}

/// `Chart.yaml`.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// The chart's name.
    pub name: String,
    /// The chart's version.
    pub version: String,
    /// The version of MAAS that its images install.
    pub app_version: String,
    /// All of it.
    pub all: Value,
}

/// What `Chart.yaml` says.
#[must_use]
pub fn metadata() -> &'static Metadata {
    static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
        let source = Arc::new(Source::File("Chart.yaml".to_owned()));
        // A test reads it: the fallback is never seen.
        let all = yaml::read(file("Chart.yaml"), &source).map_or(Value::Null, |it| it.to_json());
        let text = |key: &str| all.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, version, app_version) = (text("name"), text("version"), text("appVersion"));
        Metadata { name, version, app_version, all }
    });
    &METADATA
}

/// The chart's `values.yaml`, with the line of each value.
///
/// # Errors
/// Where it cannot be read, which a test rules out.
pub fn defaults() -> Result<Node, ReadError> {
    yaml::read(file("values.yaml"), &Arc::new(Source::Defaults))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_is_whole() {
        for path in ["Chart.yaml", "values.yaml", "values.schema.json", "templates/NOTES.txt"] {
            assert!(!file(path).is_empty(), "{path}");
        }
        assert!(templates().any(|(path, _)| path == "templates/tests/test.yaml"));
        assert!(!FILES.iter().any(|(path, _)| *path == "values-table"));
        assert!(FILES.is_sorted());
        let metadata = metadata();
        assert_eq!(metadata.name, "maas");
        assert!(!metadata.version.is_empty() && !metadata.app_version.is_empty());
        assert!(defaults().unwrap().map().unwrap().contains_key("images"));
    }
}
