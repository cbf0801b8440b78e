//! Names and texts inside SQL, where parameters cannot stand.

/// The longest name, in bytes. PostgreSQL cuts longer ones, silently, and two
/// names could become one.
const LONGEST: usize = 63;

/// A name that cannot be one in PostgreSQL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Nothing there.
    #[error("the name of a {0} is empty")]
    Empty(&'static str),
    /// Too long.
    #[error("the name of the {what} '{name}' has {} bytes; PostgreSQL has {LONGEST} at most", name.len())]
    Long {
        /// Of what.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// It has a character that ends it.
    #[error("the name of a {0} holds a control character")]
    Control(&'static str),
}

/// `name`, of a `what`, as it stands in SQL: quoted, so that every character is
/// the name's own.
///
/// # Errors
/// [`IdentifierError`].
pub fn quoted(what: &'static str, name: &str) -> Result<String, IdentifierError> {
    if name.is_empty() {
        return Err(IdentifierError::Empty(what));
    }
    if name.len() > LONGEST {
        return Err(IdentifierError::Long { what, name: name.to_owned() });
    }
    if name.chars().any(char::is_control) {
        return Err(IdentifierError::Control(what));
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

/// `text` as a literal, whatever `standard_conforming_strings` is.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_of_a_name_is_the_names_own() {
        assert_eq!(quoted("role", "maas").unwrap(), "\"maas\"");
        assert_eq!(quoted("role", "Ma\"as; --").unwrap(), "\"Ma\"\"as; --\"");
        assert_eq!(quoted("role", "mäß").unwrap(), "\"mäß\"");
    }

    #[test]
    fn names_that_postgresql_would_change_are_refused() {
        assert!(quoted("role", "").is_err());
        assert!(quoted("role", "a\0b").is_err());
        assert!(quoted("role", &"ä".repeat(32)).is_err());
        assert!(quoted("role", &"a".repeat(63)).is_ok());
    }

    #[test]
    fn a_literal_does_not_end_early() {
        assert_eq!(literal("a'b\\c"), "E'a\\'b\\\\c'");
    }
}
