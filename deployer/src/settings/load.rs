//! Where settings come from.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::Settings;

/// The variable that holds the settings themselves.
pub(crate) const VARIABLE: &str = "MAAS_DEPLOYER_SETTINGS";

/// Where settings came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The environment.
    Environment,
    /// Nowhere: all sections are missing.
    None,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Environment => write!(formatter, "the variable {VARIABLE}"),
            Self::None => write!(
                formatter,
                "nowhere: there is neither --settings, nor {VARIABLE}, nor a settings.json beside the program"
            ),
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The variable is not text.
    #[error("the variable {VARIABLE} is not UTF-8 text")]
    NotText,
    /// They are no JSON, or hold a key that nobody knows.
    #[error("cannot understand the settings in {from}")]
    Parse {
        /// Where they stand.
        from: Source,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
}

/// Reads the settings: `file`; else the variable `MAAS_DEPLOYER_SETTINGS`; else
/// `settings.json` beside the running program; else there are none.
///
/// # Errors
/// [`LoadError`].
pub fn load(file: Option<&Path>) -> Result<(Settings, Source), LoadError> {
    if let Some(path) = file {
        return from_file(path);
    }
    match std::env::var(VARIABLE) {
        Ok(text) => return parse(&text, Source::Environment),
        Err(std::env::VarError::NotUnicode(_)) => return Err(LoadError::NotText),
        Err(std::env::VarError::NotPresent) => {}
    }
    match beside_the_program() {
        Some(path) if path.exists() => from_file(&path),
        _ => Ok((Settings::default(), Source::None)),
    }
}

fn beside_the_program() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.join("settings.json"))
}

fn from_file(path: &Path) -> Result<(Settings, Source), LoadError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    parse(&text, Source::File(path.to_owned()))
}

fn parse(text: &str, from: Source) -> Result<(Settings, Source), LoadError> {
    match serde_json::from_str(text) {
        Ok(settings) => Ok((settings, from)),
        Err(source) => Err(LoadError::Parse { from, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let text = r#"{"images": {"os": "ubuntu", "release": "noble", "archs": []}}"#;
        let error = parse(text, Source::Environment).unwrap_err();
        let text = crate::chain(&error);
        assert!(text.contains("MAAS_DEPLOYER_SETTINGS"), "{text}");
        assert!(text.contains("unknown field `archs`"), "{text}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = load(Some(Path::new("/nonexistent/settings.json"))).unwrap_err();
        assert!(crate::chain(&error).starts_with("cannot read /nonexistent/settings.json: "));
    }

    #[test]
    fn the_example_in_the_documentation_is_understood() {
        let text = include_str!("../../../docs/deployer-jobs.md");
        let example = text.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
        let (settings, _) = parse(example, Source::Environment).unwrap();
        assert_eq!(settings.database().unwrap().port, 5432);
    }

    #[test]
    fn the_whole_contract_is_understood() {
        let text = include_str!("../../tests/data/settings.json");
        let (settings, _) = parse(text, Source::Environment).unwrap();
        assert_eq!(settings.release().unwrap().fullname, "maas");
        assert_eq!(settings.secrets().unwrap().api_key.as_ref().unwrap().namespace, "maas");
        assert_eq!(settings.images().unwrap().wanted(), ["noble", "xenial"]);
        assert_eq!(settings.tls().port, 5443);
        assert!(settings.boot_source().unwrap().keyring);
        assert_eq!(settings.config().unwrap().len(), 4);
    }
}
