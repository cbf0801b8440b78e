//! Arguments that the verbs about a release share: its name, its namespace,
//! its values.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use kube::config::Kubeconfig;
use serde_json::Value;

use super::failure::Failure;
use crate::render::ReleaseInfo;
use crate::tree::Source;
use crate::values::{Values, Wanted};

/// The namespace where neither the command line nor the kubeconfig names one.
const NAMESPACE: &str = "maas";

#[derive(Debug, Args)]
pub(super) struct ReleaseArgs {
    /// The release's name
    #[arg(value_name = "RELEASE", default_value = "maas", value_parser = release_name)]
    pub(super) release: String,
    /// The namespace [default: that of the kubeconfig's context, else maas]
    #[arg(
        short,
        long,
        value_name = "NAMESPACE",
        env = "MAAS_DEPLOYER_NAMESPACE",
        value_parser = namespace_name
    )]
    namespace: Option<String>,
}

impl ReleaseArgs {
    /// Those of a verb that reads them otherwise.
    pub(super) fn new(release: String, namespace: Option<String>) -> Self {
        Self { release, namespace }
    }

    /// The namespace: the one that was named, else the one that the current
    /// context of the kubeconfig names, else `maas`.
    pub(super) fn namespace(&self) -> String {
        let of_context = || {
            let config = Kubeconfig::read().ok()?;
            let current = config.current_context?;
            let context = config.contexts.into_iter().find(|context| context.name == current)?;
            context.context?.namespace.filter(|name| !name.is_empty())
        };
        self.namespace.clone().or_else(of_context).unwrap_or_else(|| NAMESPACE.to_owned())
    }

    /// The namespace that the command line names.
    pub(super) fn named_namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// What the chart is rendered for: a first installation.
    pub(super) fn install(&self) -> ReleaseInfo {
        ReleaseInfo::install(&self.release, &self.namespace())
    }
}

/// Its `Debug` shows no value: some are secrets.
#[derive(Args)]
#[command(next_help_heading = "Values")]
pub(super) struct ValuesArgs {
    /// A file of values, `-` for standard input; of several, the last wins
    #[arg(short = 'f', long = "values", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Set a value: a.b=c,d[0]=e,f={g,h}; null deletes the chart's own
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Set a text, also where it looks like a number
    #[arg(long, value_name = "KEY=VALUE")]
    set_string: Vec<String>,
    /// Set a value to what a file holds
    #[arg(long, value_name = "KEY=FILE")]
    set_file: Vec<String>,
    /// Set a value that is JSON, or a map of values
    #[arg(long, value_name = "KEY=JSON")]
    set_json: Vec<String>,
    /// Take all images from this registry, in place of any that their names have
    #[arg(long, value_name = "HOST[/PATH]", env = "MAAS_DEPLOYER_REGISTRY", value_parser = registry)]
    registry: Option<String>,
}

impl fmt::Debug for ValuesArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValuesArgs").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ValuesArgs {
    /// The values, checked.
    pub(super) fn load(&self) -> Result<Values, Failure> {
        Values::load(&self.wanted()).map_err(|error| Failure::values(&error))
    }

    /// The values over others, which `source` names, checked.
    pub(super) fn load_over(&self, held: Value, source: Source) -> Result<Values, Failure> {
        let loaded = Values::load_over(held, source, &self.wanted());
        loaded.map_err(|error| Failure::values(&error))
    }

    /// Whether values are given. Where images come from is none: it may stand in the
    /// environment, for all verbs.
    pub(super) fn is_given(&self) -> bool {
        let lists = [&self.set, &self.set_string, &self.set_file, &self.set_json];
        !self.files.is_empty() || lists.into_iter().any(|list| !list.is_empty())
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            files: self.files.clone(),
            json: self.set_json.clone(),
            set: self.set.clone(),
            text: self.set_string.clone(),
            from_file: self.set_file.clone(),
            registry: self.registry.clone(),
        }
    }
}

/// Names that Helm takes, DNS labels with dots between them, 53 signs at most, and that can begin
/// the name of a Service, which a digit cannot.
fn release_name(text: &str) -> Result<String, String> {
    let good = text.len() <= 53
        && text.split('.').all(is_label)
        && !text.starts_with(|sign: char| sign.is_ascii_digit());
    let rule = "a small letter first, then small letters, digits and - between them, 53 at most";
    if good { Ok(text.to_owned()) } else { Err(format!("a release's name has {rule}")) }
}

fn namespace_name(text: &str) -> Result<String, String> {
    let rule = "small letters, digits and - between them, 63 at most";
    if is_label(text) { Ok(text.to_owned()) } else { Err(format!("a namespace's name has {rule}")) }
}

fn is_label(text: &str) -> bool {
    let sign = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(sign)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn registry(text: &str) -> Result<String, String> {
    let sign = |b: u8| b.is_ascii_alphanumeric() || b"-._:/[]".contains(&b);
    let name = text.trim_end_matches('/');
    if name.is_empty() || name.contains("//") || name.starts_with('/') || !name.bytes().all(sign) {
        return Err("write HOST[:PORT][/PATH], without https://".to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubernetes_takes() {
        for good in ["maas", "a-1", "a.b", &"a".repeat(53)] {
            assert!(release_name(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "-a", "a-", "a..b", "a_b", "1a", &"a".repeat(54)] {
            assert!(release_name(bad).is_err(), "{bad}");
        }
        assert!(namespace_name("1-maas").is_ok());
        assert!(namespace_name("a.b").is_err());
    }

    #[test]
    fn registries_have_no_scheme() {
        assert_eq!(registry("r.example:5000/boot/").unwrap(), "r.example:5000/boot");
        for bad in ["", "/", "https://r.example", "a b", "a//b"] {
            assert!(registry(bad).is_err(), "{bad}");
        }
    }
}
