//! `sstream-mirror`'s filter expressions.

use std::fmt;
use std::str::FromStr;

use super::FlatItem;

/// One `KEY OP VALUE` expression, as `sstream-mirror` takes on its command
/// line: OP is `=`, `!=`, `~` (a regular expression, searched for anywhere in
/// the value) or `!~`.
///
/// A key that an item does not have reads as the empty string. Spaces before
/// and after OP are ignored; spaces at the end belong to VALUE.
#[derive(Clone, Debug)]
pub struct Filter {
    source: String,
    key: String,
    negated: bool,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    Equals(String),
    Searches(Box<fancy_regex::Regex>),
}

/// Why an expression is not a filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Not `KEY OP VALUE`.
    #[error("'{0}' is not a filter: write KEY=VALUE, KEY!=VALUE, KEY~REGEX or KEY!~REGEX")]
    Syntax(String),
    /// The regular expression does not compile.
    #[error("the regular expression of the filter '{filter}' is not valid")]
    Regex {
        /// The whole expression.
        filter: String,
        /// What the compiler of regular expressions says.
        source: Box<fancy_regex::Error>,
    },
    /// The regular expression took too many steps on some value.
    #[error("the filter '{filter}' takes too long on the value '{value}'")]
    TooSlow {
        /// The whole expression.
        filter: String,
        /// The value it was tried on.
        value: String,
        /// What the engine says.
        source: Box<fancy_regex::Error>,
    },
}

impl Filter {
    /// Whether `item` passes.
    ///
    /// # Errors
    /// [`FilterError::TooSlow`] where a regular expression backtracks without
    /// end.
    pub fn matches(&self, item: &FlatItem<'_>) -> Result<bool, FilterError> {
        let value = item.get(&self.key).unwrap_or_default();
        let hit = match &self.matcher {
            Matcher::Equals(wanted) => *wanted == value,
            Matcher::Searches(regex) => {
                regex.is_match(value.as_ref()).map_err(|source| FilterError::TooSlow {
                    filter: self.source.clone(),
                    value: value.into_owned(),
                    source: Box::new(source),
                })?
            }
        };
        Ok(hit != self.negated)
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(source: &str) -> Result<Self, FilterError> {
        let syntax = || FilterError::Syntax(source.to_owned());
        let key_end = source
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '|' | '-')))
            .filter(|end| *end > 0)
            .ok_or_else(syntax)?;
        let (key, rest) = source.split_at(key_end);
        let rest = rest.trim_start_matches(' ');
        let (negated, rest) = match rest.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (searches, value) = match (rest.strip_prefix('='), rest.strip_prefix('~')) {
            (Some(value), _) => (false, value),
            (None, Some(value)) => (true, value),
            (None, None) => return Err(syntax()),
        };
        let value = value.trim_start_matches(' ');
        if value.contains('\n') {
            return Err(syntax());
        }
        let matcher = if searches {
            let regex = fancy_regex::Regex::new(value).map_err(|error| FilterError::Regex {
                filter: source.to_owned(),
                source: Box::new(error),
            })?;
            Matcher::Searches(Box::new(regex))
        } else {
            Matcher::Equals(value.to_owned())
        };
        Ok(Self { source: source.to_owned(), key: key.to_owned(), negated, matcher })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}
