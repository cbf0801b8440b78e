//! Arguments that the verbs about a release share: its name, its namespace,
//! its values.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use kube::config::Kubeconfig;
use oci::registry::ReferenceError;
use serde_json::Value;

use super::failure::Failure;
use crate::bundle::push::Destination;
use crate::render::ReleaseInfo;
use crate::tree::Source;
use crate::values::{Values, Wanted};

/// The namespace where neither the command line nor the kubeconfig names one.
const NAMESPACE: &str = "maas";

#[derive(Clone, Debug, Args)]
pub(super) struct NamespaceArgs {
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

#[derive(Debug, Args)]
pub(super) struct ReleaseArgs {
    /// The release's name
    #[arg(value_name = "RELEASE", default_value = "maas", value_parser = release_name)]
    pub(super) release: String,
    #[command(flatten)]
    namespace: NamespaceArgs,
}

impl ReleaseArgs {
    /// Those of a verb that reads them otherwise.
    pub(super) fn new(release: String, namespace: NamespaceArgs) -> Self {
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
        self.namespace.namespace.clone().or_else(of_context).unwrap_or_else(|| NAMESPACE.to_owned())
    }

    /// The namespace that the command line names.
    pub(super) fn named_namespace(&self) -> Option<&str> {
        self.namespace.namespace.as_deref()
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
    #[arg(long, value_name = "HOST[:PORT][/PATH]", env = "MAAS_DEPLOYER_REGISTRY", value_parser = registry)]
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
pub(super) fn release_name(text: &str) -> Result<String, String> {
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

/// A registry, and a path in it, as they stand before an image's name.
pub(super) fn registry(text: &str) -> Result<String, String> {
    let why = match text {
        "" => "it is empty".to_owned(),
        _ if text.contains(char::is_whitespace) => "it has blanks".to_owned(),
        _ if text.contains("://") => "it has a scheme".to_owned(),
        _ if text.ends_with('/') => "it ends with /".to_owned(),
        _ => match text.parse::<Destination>() {
            Ok(_) => return Ok(text.to_owned()),
            Err(ReferenceError::Name(_)) => {
                "a path has lower-case letters, digits, '.', '_', '-' and '/'".to_owned()
            }
            Err(error) => error.to_string(),
        },
    };
    Err(format!("write HOST[:PORT][/PATH], such as registry.example:5000/boot ({why})"))
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
    fn registries_are_a_host_and_a_path() {
        for good in
            ["r.example", "r.example:5000/boot", "localhost/a", "r:5000", "[::1]:5000/a-b/c"]
        {
            assert_eq!(registry(good).unwrap(), good);
        }
        for bad in [
            "",
            " ",
            "/",
            "r.example/",
            "r.example/boot/",
            "https://r.example",
            "r.example/a b",
            "r.example /a",
            "r.example//b",
            "r.example/Boot",
            "r.example/../b",
            "r.example/boot:1",
            "r.example/boot@sha256:00",
            "foo/bar:x",
            "r.example:port",
            "me:pw@r.example",
        ] {
            let told = registry(bad).expect_err(bad);
            assert!(told.contains("HOST[:PORT][/PATH]"), "{bad}: {told}");
            assert!(!told.contains("/a'"), "{bad}: it names what was not given: {told}");
        }
    }
}
