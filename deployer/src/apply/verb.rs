//! What is done with a release, in Helm's words.

use crate::release::{Event, Status};

/// What is done with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It is installed.
    Install,
    /// It is upgraded.
    Upgrade,
    /// It goes back to a revision.
    Rollback(u32),
}

impl Verb {
    pub(crate) fn events(self) -> (Event, Event) {
        match self {
            Self::Install => (Event::PreInstall, Event::PostInstall),
            Self::Upgrade => (Event::PreUpgrade, Event::PostUpgrade),
            Self::Rollback(_) => (Event::PreRollback, Event::PostRollback),
        }
    }

    /// Helm's words for what goes on, and for what is done.
    pub(crate) fn descriptions(self) -> (Status, String, String) {
        match self {
            Self::Install => (
                Status::PendingInstall,
                "Initial install underway".to_owned(),
                "Install complete".to_owned(),
            ),
            Self::Upgrade => (
                Status::PendingUpgrade,
                "Preparing upgrade".to_owned(),
                "Upgrade complete".to_owned(),
            ),
            Self::Rollback(to) => {
                let text = format!("Rollback to {to}");
                (Status::PendingRollback, text.clone(), text)
            }
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Install => "Install",
            Self::Upgrade => "Upgrade",
            Self::Rollback(_) => "Rollback",
        }
    }
}
