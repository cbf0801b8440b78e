//! What is wrong with an archive.

use std::io;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It does not start as a tar archive does.
    #[error("it is not a tar archive")]
    NotTar,
    /// A header that does not fit its own checksum.
    #[error("the header at byte {offset} is damaged")]
    Damaged {
        /// Where it starts.
        offset: u64,
    },
    /// It ends too early.
    #[error("it ends at byte {offset}, in the middle: it was cut short")]
    Truncated {
        /// Where it ends.
        offset: u64,
    },
    /// Something stands where there must be zeros.
    #[error("there is something at byte {offset} that does not belong there")]
    Stray {
        /// Where it starts.
        offset: u64,
    },
    /// An entry that has no place in a bundle.
    #[error("its entry '{name}' is refused: {reason}")]
    Entry {
        /// The name, with control characters escaped.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// More entries than [`MAX_ENTRIES`](super::MAX_ENTRIES).
    #[error("it has more than {limit} entries")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The system refused to read.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
}

impl ArchiveError {
    pub(super) fn entry(name: &str, reason: &'static str) -> Self {
        let name = name.chars().take(120).collect::<String>().escape_debug().to_string();
        Self::Entry { name, reason }
    }
}
