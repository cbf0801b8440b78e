//! TLS: the pair of certificate and key, and connections that use it.
//!
//! [`Files`] names the pair, [`pair`] reads and checks it, [`Pair`] holds what is in
//! use and takes up a new one when the files change; [`connection`] shakes hands
//! and serves HTTP/1.1 or, where the client offers it, HTTP/2 ([`activity`] bounds
//! what HTTP/2 clients may idle away). Cryptography is aws-lc's, as in `upstream`.
//!
//! The bytes of a blob are read into memory to be encrypted
//! ([`copied`](super::engine::copied)); from there they go, as plain HTTP's do,
//! through [`FileStream`](super::engine::stream::FileStream), which ends
//! connections whose client takes nothing.

mod activity;
pub(super) mod connection;
mod io;
mod pair;
mod reload;

use std::path::PathBuf;

pub use pair::{PairError, PairProblem};
pub(super) use reload::Pair;

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// PEM: the server's certificate, then those that lead to its authority.
    pub cert: PathBuf,
    /// PEM: the certificate's key, as PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
}
