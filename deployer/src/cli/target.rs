//! Files that the command line names to be written.

use std::path::Path;

use super::failure::Failure;
use crate::bundle::is_special;

/// That a file may get this name, before anything is done for it. It gets it by being renamed,
/// which would put it in the place of a device as well; `instead` is what to do about one.
pub(super) fn check(
    doing: &str,
    path: &Path,
    may_replace: bool,
    instead: &str,
) -> Result<(), Failure> {
    if is_special(path) {
        let reason = "it is there already, and is no regular file";
        return Err(Failure::refused(doing, reason, instead));
    }
    if path.exists() && !may_replace {
        let hint = "name another file, or write over it with --force";
        return Err(Failure::refused(doing, "it is there already", hint));
    }
    Ok(())
}
