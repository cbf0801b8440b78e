//! What is to be installed: the chart, rendered with the user's values.

use serde_json::{Map, Value};

use super::super::failure::Failure;
use super::args::{KeepArgs, SourceArgs};
use crate::apply::Current;
use crate::release::Candidate;
use crate::render::{ReleaseInfo, render};
use crate::tree::Source;
use crate::values::Values;

/// The chart with the values that were given.
pub(super) fn first(args: &SourceArgs, name: &str, namespace: &str) -> Result<Candidate, Failure> {
    rendered(&args.values.load()?, &ReleaseInfo::install(name, namespace))
}

/// The chart with the values that were given, or those of the revision that is
/// deployed, or both: as Helm does it. One that failed had values that did not do.
pub(super) fn after(
    current: &Current,
    args: &SourceArgs,
    keep: &KeepArgs,
    namespace: &str,
) -> Result<Candidate, Failure> {
    let (last, held) = (&current.last, current.values_of());
    let given = if is_reused(args, keep) {
        let source = Source::File(format!("the values of revision {}", held.version));
        args.values.load_over(Value::Object(held.config.clone()), source)?
    } else {
        args.values.load()?
    };
    let info = ReleaseInfo {
        revision: u64::from(last.version) + 1,
        is_upgrade: true,
        ..ReleaseInfo::install(&last.name, namespace)
    };
    Ok(Candidate { after: Some(last.version), ..rendered(&given, &info)? })
}

/// Whether the values of a revision are taken.
pub(super) fn is_reused(args: &SourceArgs, keep: &KeepArgs) -> bool {
    keep.reuse_values || (!keep.reset_values && !args.values.is_given())
}

fn rendered(values: &Values, info: &ReleaseInfo) -> Result<Candidate, Failure> {
    let rendered = render(values, info).map_err(|error| Failure::render(&error))?;
    let chart =
        crate::release::chart().map_err(|error| Failure::new("cannot read the chart", &error))?;
    let config = match values.given().to_json() {
        Value::Object(config) => config,
        _ => Map::new(),
    };
    Ok(Candidate::new(&rendered, chart, config))
}
