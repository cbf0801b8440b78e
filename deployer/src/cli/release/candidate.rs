//! What is to be installed: the chart, rendered with the user's values.

use super::super::failure::Failure;
use super::args::{SourceArgs, TargetArgs};
use crate::release::{Candidate, Release};

pub(super) fn load(args: &SourceArgs, _: &TargetArgs, _: &str) -> Result<Candidate, Failure> {
    let path = args.rendered.clone().unwrap_or_default();
    let text = std::fs::read(&path).map_err(|error| Failure::new("cannot read it", &error))?;
    let release: Release =
        serde_json::from_slice(&text).map_err(|error| Failure::new("cannot read it", &error))?;
    Ok(Candidate::of_release(&release))
}
