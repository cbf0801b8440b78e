//! Has a cluster hold what was rendered, and waits for it.
//!
//! | part | is |
//! |---|---|
//! | `complete` | whether each object says what it is and how it is called |
//! | `documents` | the objects in a manifest's text |
//! | `phase` | the groups that an installation is shown in |
//! | `target` | an object that is to be there: where, with which marks of its release |
//! | `ownership` | whose a field is, and how Helm's become ours |
//! | `beside` | what others set in an object beside what its release says |
//! | `difference` | two states of an object, compared without noise and secrets |
//! | `plan` | what would change, by server-side dry run; nothing is written |
//! | `carry_out` | a plan carried out |
//! | `trial` | each object tried by itself, by dry run |
//! | `diff` | what a plan changes, object by object |
//! | `hooks` | hooks, as Helm runs them |
//! | `ready` | whether a workload is as it should be |
//! | `standing` | how the objects of a release stand, phase by phase |
//! | `trouble` | what cannot heal by itself, and what is known of it |
//! | `streams` | watches, as one stream of what they see |
//! | `waited` | what is waited for, and how it stands |
//! | `tries` | why tries of Jobs failed that are made again |
//! | `watch` | waits for workloads by watching them |
//! | `ended` | waits for one object: until it is gone, or a hook has ended |
//! | `late` | what is known of a workload that was not ready in time |
//! | `verb` | what is done with a release, in Helm's words |
//! | `before` | what is known of a release before anything is done |
//! | `operation` | install, upgrade, rollback: record, hooks, objects, wait |
//! | `belongings` | what a release made beside its objects, by its record |
//! | `uninstall` | the way back |
//! | `leftovers` | what an uninstall kept, once the record is gone |
//! | `progress` | what is told while it goes on |

mod before;
mod belongings;
mod beside;
mod carry_out;
mod complete;
mod diff;
mod difference;
mod documents;
mod ended;
mod error;
mod hooks;
mod late;
mod leftovers;
mod operation;
mod ownership;
mod phase;
mod plan;
mod progress;
mod ready;
mod standing;
mod streams;
mod target;
mod trial;
mod tries;
mod trouble;
mod uninstall;
mod verb;
mod waited;
mod watch;

pub use before::Current;
pub(crate) use belongings::{api_key_of, settings_of};
pub use diff::{Diff, Difference, HookRun};
pub(crate) use difference::hidden;
pub use difference::{FieldChange, field_changes};
pub use documents::{ManifestError, documents};
pub use error::{ApplyError, Conflict};
pub use leftovers::Leftovers;
pub use operation::{Done, Operation, Options};
pub use phase::Phase;
pub(crate) use phase::runs;
pub use plan::{Action, Change, Plan};
pub use progress::{News, Progress};
pub(crate) use ready::{Readiness, of_object as readiness_of};
pub use standing::{Object, PhaseState, Standing, phases};
pub use trial::{Trial, try_each};
pub(crate) use trouble::of_pod as trouble_of_pod;
pub use trouble::{Trouble, TroubleKind};
pub use uninstall::{Kept, Uninstall, Uninstalled};
pub use verb::Verb;
