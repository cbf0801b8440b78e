//! Everything that somebody needs who is to help, in one archive, and no secret.
//!
//! | part | is |
//! |---|---|
//! | `archive` | the archive: bounded, each file without secrets, an index of it |
//! | `secrets` | what is to be struck out, and whether all of it is known |
//! | `objects` | the release's objects, its Secrets by their keys alone |
//! | `logs` | the ends of logs |
//! | `record` | the release record: revisions, values, manifest |
//! | `gather` | one after the other |

mod archive;
mod gather;
mod logs;
mod objects;
mod record;
mod secrets;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use archive::{Contents, Entry, Left};
pub use gather::{Begin, Gathering};

/// How a bundle is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many lines of each log.
    pub log_lines: u32,
    /// How many bytes of each log.
    pub log_bytes: usize,
    /// How many bytes in all, before they are packed.
    pub bytes: u64,
    /// How long all may take.
    pub timeout: Duration,
    /// Whether logs and the like are taken where not all secrets are known.
    pub unstruck: bool,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum SupportError {
    /// It cannot be written.
    #[error("the archive cannot be written")]
    Write(#[from] io::Error),
    /// Its folder cannot be used.
    #[error("cannot write in {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Secrets cannot be looked for.
    #[error("secrets cannot be struck out: {0}")]
    Strike(String),
}
