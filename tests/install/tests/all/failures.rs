//! Installs that cannot work, and what they tell.

use install_tests::Site;

/// A failure, by name.
pub(crate) type Failure = (&'static str, fn(&Site));

/// Each in a namespace of its own.
pub(crate) const TRIALS: &[Failure] = &[];
