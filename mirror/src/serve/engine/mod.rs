//! The file engine: how the bytes of blobs reach a socket.
//!
//! Large bodies never enter this process. A blob is opened once and mapped,
//! and a [`BlobBody`](body::BlobBody) hands hyper [`Bytes`](bytes::Bytes) that point into the
//! mapping. hyper frames them as any others and gives them to the connection's
//! I/O, [`FileStream`](stream::FileStream), which knows, from a list that the bodies of that
//! connection keep ([`InFlight`](inflight::InFlight)), which addresses are whose file: those it sends
//! with `sendfile(2)`, all others as they are.
//!
//! Invariants:
//! - a mapping is never read by plain HTTP, so a disk that fails under it
//!   costs that connection and raises no SIGBUS;
//! - what hyper holds owns its blob ([`Blob`](blob::Blob) lives in the `Bytes`), so a blob
//!   pruned while it is sent is sent to its end;
//! - `sendfile` that ends before the length listed is an error: the connection
//!   is cut and never padded, the blob is counted as damaged and moved to the
//!   store's quarantine ([`damage`]), and is not served again until it is opened,
//!   and its length checked, anew;
//! - no runtime thread waits for a disk: a body yields what the page cache
//!   has ([`warm`]), and lets a thread that may wait read the rest first;
//! - over TLS, where bytes are needed in memory, bodies are read from the file
//!   ([`copied`]) and never from the mapping; what clients hold of it is bounded
//!   over all of them, by smaller pieces and not by waiting;
//! - hyper must not copy bodies: the I/O says that it writes vectored, and
//!   pipelined answers are flushed one by one.

pub(super) mod blob;
pub(super) mod body;
pub(super) mod cache;
pub(super) mod copied;
pub(super) mod damage;
pub(super) mod inflight;
pub(super) mod stream;
#[cfg(test)]
mod tests;
mod warm;
