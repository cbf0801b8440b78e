//! Helpers for tests of the chart `maas`, rendered by Helm itself.
//!
//! - [`Helm`]: the program, and how it renders or refuses values.
//! - [`Objects`], [`Object`]: what it rendered; [`Pod`]: the pods therein.
//! - [`files`]: the value files of `tests/chart/values`, which turn every key.
//! - [`values`]: leaves of values, and values without one.
//! - [`template`]: the chart's own templates, cut into words.
//! - [`settings`]: what the chart tells the deployer.
//! - [`snapshot`]: what a person reads, compared with a file.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a helper that cannot do its work fails the test that asked for it"
)]

pub mod files;
mod helm;
mod object;
mod pod;
pub mod settings;
pub mod snapshot;
pub mod template;
pub mod values;

pub use helm::Helm;
pub use object::{Object, Objects, name_of, yaml};
pub use pod::Pod;
