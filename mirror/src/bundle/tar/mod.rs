//! The tar archive that a bundle is: strict where it is read, plain where it
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
mod pax;

pub(super) use entries::{Entries, Entry, Input, Name};
pub use error::ArchiveError;
pub(super) use header::{BLOCK, END, encode, padding};
