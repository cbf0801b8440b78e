//! The client of MAAS's REST API 2.0.
//!
//! - OAuth 1.0 PLAINTEXT with a nonce of its own for each attempt.
//! - What may pass by itself is tried again, a bounded number of times and a
//!   bounded time: a connection that is refused or cut, 5xx, 429, a nonce that was
//!   used. Any other 4xx is an answer. What must not happen twice is looked for
//!   before it is sent again.
//! - Where MAAS finds a request too old, its clock is made up for.
//! - Redirects are not followed: the header that proves who asks would go along.
//! - The body of a 401 holds the real secret where a signature is wrong. It is
//!   looked at to tell the kinds apart, and then forgotten.
//! - Proxies of the environment are not used: MAAS is in the cluster.

mod account;
mod address;
mod boot;
mod client;
mod clock;
mod config;
mod controllers;
mod error;
mod key;
mod reply;
mod request;
mod retry;

pub use account::User;
pub use address::candidates;
pub use boot::{BootFile, BootResource, BootSet, BootSource, Keyring, Selection, WantedSelection};
pub use client::{Client, Options, is_mirror_ready};
pub use controllers::Controller;
pub use error::{Complaints, ConfigError, MaasError, Problem, Unauthorised};
pub use key::{ApiKey, KeyError};
pub use retry::Retries;
