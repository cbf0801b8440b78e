//! What was looked at, and how it is.

use serde_json::{Value, json};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// As it should be.
    Pass,
    /// It could not be looked at.
    Skipped,
    /// It works, and somebody should know.
    Warn,
    /// It will not work.
    Fail,
}

impl Status {
    /// `pass`, `skipped`, `warn`, `fail`.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skipped => "skipped",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, which stays: `nodes.rack`.
    pub id: String,
    /// How it ended.
    pub status: Status,
    /// What was looked at, and where it passed, what was found.
    pub what: String,
    /// Why it did not pass; empty where it did.
    pub why: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Check {
    /// One that passed.
    pub fn pass(id: impl Into<String>, what: impl Into<String>) -> Self {
        let (id, what) = (id.into(), what.into());
        Self { id, status: Status::Pass, what, why: String::new(), hint: None }
    }

    /// One that passed, with something to know.
    pub fn warn(id: impl Into<String>, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { status: Status::Warn, why: why.into(), ..Self::pass(id, what) }
    }

    /// One that failed.
    pub fn fail(id: impl Into<String>, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { status: Status::Fail, why: why.into(), ..Self::pass(id, what) }
    }

    /// One that could not be made.
    pub fn skip(id: impl Into<String>, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { status: Status::Skipped, why: why.into(), ..Self::pass(id, what) }
    }

    /// What to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Checks of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name, which stays: `nodes`.
    pub id: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// The checks.
    pub checks: Vec<Check>,
}

impl Group {
    /// Checks of one kind.
    #[must_use]
    pub fn new(id: &'static str, title: &'static str, checks: Vec<Check>) -> Self {
        Self { id, title, checks }
    }
}

/// All checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which they were made.
    pub groups: Vec<Group>,
}

impl Report {
    /// Whether nothing failed.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.count(Status::Fail) == 0
    }

    /// How many ended so.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        let checks = self.groups.iter().flat_map(|group| &group.checks);
        checks.filter(|check| check.status == status).count()
    }

    /// As programs read it: the groups.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let check = |check: &Check| {
            json!({"id": check.id, "status": check.status.text(), "what": check.what,
                "why": check.why, "hint": check.hint})
        };
        let group = |group: &Group| {
            let checks: Vec<Value> = group.checks.iter().map(check).collect();
            json!({"id": group.id, "title": group.title, "checks": checks})
        };
        self.groups.iter().map(group).collect()
    }
}

/// A list that stays readable: what is beyond `most` is counted.
pub(super) fn listed(items: &[String], most: usize) -> String {
    let shown: Vec<&str> = items.iter().take(most).map(String::as_str).collect();
    match items.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_no_failure() {
        let checks =
            vec![Check::pass("a", "a"), Check::warn("b", "b", "c"), Check::skip("d", "d", "e")];
        let mut report = Report { groups: vec![Group::new("g", "G", checks)] };
        assert!(report.is_ok());
        report.groups[0].checks.push(Check::fail("f", "f", "why").hint("do it"));
        assert!(!report.is_ok());
        let json = report.to_json();
        let failed =
            json!({"id": "f", "status": "fail", "what": "f", "why": "why", "hint": "do it"});
        assert_eq!(json[0]["checks"][3], failed);
        assert_eq!(json[0]["checks"][0]["hint"], Value::Null);
    }

    #[test]
    fn long_lists_are_cut() {
        let items: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(listed(&items, 2), "a, b and 1 more");
        assert_eq!(listed(&items, 3), "a, b, c");
    }
}
