//! Bundles: a snapshot in one file or in many, for a site that no network
//! reaches.
//!
//! ```text
//! store ─┬─ export ─ archive, parts, folder ─ (carried) ─ import ─ store
//! upstream ┘                                    │
//!                                               ├─ inspect: what is in it
//!                                               └─ prove:   that it holds
//! ```
//!
//! A bundle is an OCI image layout in a tar archive, its metadata first, so
//! that whoever reads it can judge everything that follows; `docs/formats.md`
//! says what each byte is. Nothing between the two sides is trusted, nor is
//! the side that exports: what is imported is what the importer's own keyring
//! proves, by the rules of [`crate::sync`] and [`crate::verify`].
//!
//! Everything here blocks. Knows nothing of serving.

mod cargo;
mod contents;
mod error;
mod export;
mod fetch;
mod format;
mod import;
mod inspect;
mod output;
mod plan;
mod prove;
mod select;
mod source;
mod tree;
mod trust;

pub use contents::Contents;
pub use error::BundleError;
pub use export::{Exported, File, Items, StoreItems, export, temporaries};
pub use fetch::UpstreamItems;
pub use format::{Base, Part, Piece, Range};
pub use import::{Import, Imported, Options, Pending, State};
pub use inspect::{Summary, inspect};
use oci::tar;
pub use oci::tar::{ArchiveError, MAX_ENTRIES, MAX_TRAILER};
pub use output::Target;
pub use plan::{Held, Plan};
pub use prove::{Proved, Signed, prove};
pub use select::{Chosen, since};
pub use source::Source;
pub use tree::{Tree, TreeOptions, tree};

/// The bundles that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// Bytes of the JSON that describes a snapshot, all of it.
pub const MAX_DESCRIPTION: u64 = 64 * 1024 * 1024;

/// Bytes of the signed files in one bundle, all of them.
pub const MAX_METADATA: u64 = 128 * 1024 * 1024;

/// Parts of one bundle.
pub const MAX_PARTS: u32 = 10_000;

/// Told while bytes are moved: bytes done so far, of how many.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);
