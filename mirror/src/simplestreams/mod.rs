//! The simplestreams format: index, products, items, version order, filters
//! and selection.
//!
//! Everything here is pure: bytes in, values out, no I/O. Signatures are not
//! looked at; the caller hands in plaintext that a signature already covers.
//!
//! The format is what `python-simplestreams` reads and maas.io publishes:
//!
//! ```text
//! index ── content id ── products file
//!                            └─ product ── version ── item (path, size, sha256)
//! ```
//!
//! A key set on a products file, product or version is inherited by what lies
//! under it; [`flatten`] gives the view that filters see.

mod document;
mod filter;
mod flatten;
mod path;
mod select;
mod timestamp;
mod version;

pub use document::{Document, DocumentError, Index, IndexEntry, Item, Product, Products, Version};
pub use filter::{Filter, FilterError};
pub use flatten::{FlatItem, flatten};
pub use oci::digest::{Digest, DigestError, Hasher};
pub use path::{PathError, RelPath};
pub use select::{
    MaxVersions, Selected, SelectedItem, Selection, SelectionError, listed, parse_size, select,
    select_among,
};
pub use timestamp::{Timestamp, TimestampError};
pub use version::compare_versions;
