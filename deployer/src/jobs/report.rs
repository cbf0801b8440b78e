//! What a job did.

use super::resources::Image;

/// What a job did, or found to be done.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What it changed, in the order in which it did.
    pub changes: Vec<String>,
    /// What it found as it should be, or left alone.
    pub notes: Vec<String>,
    /// What it found, for programs; none where it only did something.
    pub facts: Option<serde_json::Value>,
    /// The images that it saw to, with their files.
    pub(crate) images: Vec<Image>,
}

impl Report {
    /// Notes a change, and logs it: a job that dies later has said it.
    pub fn changed(&mut self, change: impl Into<String>) {
        let change = change.into();
        tracing::info!(change, "changed");
        self.changes.push(change);
    }

    /// Notes what was as it should be.
    pub fn noted(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Whether anything was changed.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        !self.changes.is_empty()
    }
}
