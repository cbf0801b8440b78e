//! The one place that prints errors.

use std::error::Error;

use serde_json::json;

use super::hints;
use super::output::Output;
use super::release;
use crate::apply::ApplyError;
use crate::jobs::JobError;
use crate::render::RenderError;
use crate::settings::{LoadError, Names};
use crate::values::ValuesError;

/// Exit codes; the same in all verbs, and as `maas-mirror`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Done = 0,
    Error = 1,
    Partial = 3,
    Unverified = 4,
    Refused = 5,
    Locked = 6,
    Usage = 64,
    Interrupted = 130,
    Terminated = 143,
}

impl Exit {
    pub(super) fn code(self) -> u8 {
        self as u8
    }
}

/// Why a verb failed: what was being done, the chain of causes, what to do
/// next, and the exit code.
#[derive(Debug)]
pub(super) struct Failure {
    doing: String,
    causes: Vec<String>,
    details: Vec<String>,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    /// `doing` failed because of `error` and its causes.
    pub(super) fn new(doing: impl Into<String>, error: &dyn Error) -> Self {
        let (doing, causes) = (doing.into(), causes(error));
        Self { doing, causes, details: Vec::new(), hint: None, exit: Exit::Error }
    }

    /// `doing` failed for a reason that is no error of another layer.
    pub(super) fn message(doing: impl Into<String>, reason: impl Into<String>) -> Self {
        let (doing, causes) = (doing.into(), vec![reason.into()]);
        Self { doing, causes, details: Vec::new(), hint: None, exit: Exit::Error }
    }

    /// The settings cannot be used.
    pub(super) fn settings(error: &LoadError) -> Self {
        Self {
            exit: Exit::Usage,
            hint: Some(hints::load(error).to_owned()),
            ..Self::new("cannot use the settings", error)
        }
    }

    /// The values of the chart cannot be used.
    pub(super) fn values(error: &ValuesError) -> Self {
        let mut failure = Self::new("cannot use the values", error);
        failure.exit = Exit::Usage;
        failure.hint = Some(hints::values(error).to_owned());
        if let ValuesError::Wrong(problems) = error {
            failure.details = problems.iter().map(ToString::to_string).collect();
        }
        failure
    }

    /// The chart cannot be rendered with the values.
    pub(super) fn render(error: &RenderError) -> Self {
        let mut failure = Self::new("cannot render the chart", error);
        failure.exit = Exit::Usage;
        failure.hint = Some(hints::render(error).to_owned());
        failure
    }

    /// An argument that cannot be followed.
    pub(super) fn usage(doing: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::message(doing, reason) }
    }

    pub(super) fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Lines that say more.
    pub(super) fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    /// What to do next.
    pub(super) fn with_hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }

    /// A job failed. `settings_from` says where its settings came from; `names` are those of its
    /// release.
    pub(super) fn job(
        doing: impl Into<String>,
        error: &JobError,
        settings_from: &str,
        names: &Names,
    ) -> Self {
        let mut failure = Self::new(doing, error);
        failure.exit = exit_of(error);
        failure.hint = hints::job(error, settings_from, names);
        if let JobError::Several { details, .. } | JobError::Preflight { details, .. } = error {
            failure.details.clone_from(details);
        }
        failure
    }

    /// A release cannot be changed.
    pub(super) fn apply(doing: impl Into<String>, error: &ApplyError) -> Self {
        Self {
            exit: release::exit(error),
            details: release::details(error),
            hint: Some(release::hint(error)),
            ..Self::new(doing, error)
        }
    }

    /// Refused before anything was changed.
    pub(super) fn refused(doing: &str, reason: &str, hint: &str) -> Self {
        Self { exit: Exit::Refused, ..Self::message(doing, reason) }.with_hint(hint)
    }

    /// Prints on stderr for people, and with `-o json` on stdout for programs.
    pub(super) fn print(&self, output: &Output) -> Exit {
        output.error(&format!("error: {}", self.doing));
        for cause in &self.causes {
            output.error(&format!("  because {cause}"));
        }
        for detail in &self.details {
            output.error(&format!("  - {detail}"));
        }
        if let Some(hint) = &self.hint {
            output.error(&format!("hint: {hint}"));
        }
        output.json(&json!({
            "schema": "maas-deployer/error/1",
            "error": self.doing,
            "causes": self.causes,
            "details": self.details,
            "hint": self.hint,
            "exit_code": self.exit.code(),
        }));
        self.exit
    }
}

/// The exit code of a job that failed.
fn exit_of(error: &JobError) -> Exit {
    match error {
        JobError::Section(_) | JobError::Settings(_) => Exit::Usage,
        JobError::Downgrade { .. }
        | JobError::HalfMigrated { .. }
        | JobError::OldServer { .. }
        | JobError::Keyring { .. }
        | JobError::Preflight { .. }
        | JobError::Refused { .. } => Exit::Refused,
        _ => Exit::Error,
    }
}

/// What each error of the chain says, without what it repeats of its source.
fn causes(error: &dyn Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string().trim_end().to_owned();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = error.source();
    }
    causes
}
