//! The tar archive of an OCI image layout: strict where it is read, plain where it
//! is written.
//!
//! Written are regular files alone, with the header of POSIX.1-1988 (ustar);
//! only for a size of 8 GiB or more, which that cannot say, GNU's base-256.
//! Read is also what `skopeo`, `docker save`, GNU tar and bsdtar make of an OCI
//! image layout: folders, `./` before a name, PAX records that change nothing.
//! Everything else is refused; nothing is ever written to a path that an
//! archive names.

mod entries;
mod error;
mod header;
mod listing;
mod pax;
mod writer;

pub use entries::{Entries, Entry, Input, Name};
pub use error::ArchiveError;
pub use header::{BLOCK, END, encode, padding};
pub use listing::{Place, list};
pub use writer::{Writer, packed};

/// Files in one archive. The whole of maas.io has some ten thousand.
pub const MAX_ENTRIES: usize = 262_144;

/// Zeros that tar may fill its last record with, in bytes: as much as the
/// largest blocking factor of GNU tar in use.
pub const MAX_TRAILER: usize = 1024 * 1024;
