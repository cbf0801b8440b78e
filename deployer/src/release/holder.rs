//! Who makes a revision.

use std::fmt;

use rand::RngExt as _;

/// One run of the deployer. Its name is for people, and not its own: containers on
/// one host are all called so, process 1. What tells it from others is its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    name: String,
    id: String,
}

impl Holder {
    /// A run that people know by `name`: `root@host, process 123`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let id: [u8; 16] = rand::rng().random();
        let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name: name.into(), id }
    }

    /// What people read.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What no other run has.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl From<String> for Holder {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl From<&str> for Holder {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<&Self> for Holder {
    fn from(other: &Self) -> Self {
        other.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_of_one_name_are_two() {
        let one = Holder::new("root@host, process 1");
        let other = Holder::new("root@host, process 1");
        assert_eq!(one.name(), other.name());
        assert_ne!(one.id(), other.id());
        assert_eq!(one.id().len(), 32);
    }
}
