//! A plan carried out: what is written, in which order, and whose fields become ours.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;

use super::ended::wait_gone;
use super::error::ApplyError;
use super::ownership::takeover;
use super::phase::{Phase, runs};
use super::plan::{AT_ONCE, Action, Plan, Planning};
use super::progress::{News, Progress};
use super::target::Target;
use crate::cluster::{ClusterError, Place};
use crate::counted::counted;
use crate::manifest::install_order;

impl Planning<'_> {
    /// Makes the changes of a plan: first what does not run, then what does, last
    /// what left the manifest.
    pub(crate) async fn carry_out(
        &self,
        plan: &Plan,
        end: Instant,
        progress: &dyn Progress,
    ) -> Result<(), ApplyError> {
        for first in [true, false] {
            let part = plan.targets.iter().filter(|(target, _)| runs(&target.kind) != first);
            // In Helm's order of kinds, those of one kind at once: what is in a new
            // namespace needs it.
            let mut todo: BTreeMap<usize, Vec<(&Target, Action)>> = BTreeMap::new();
            for (target, action) in part.filter_map(|(target, action)| Some((target, (*action)?))) {
                let order = install_order(&target.kind).unwrap_or(usize::MAX);
                todo.entry(order).or_default().push((target, action));
            }
            if todo.is_empty() {
                continue;
            }
            let count: usize = todo.values().map(Vec::len).sum();
            let what = match first {
                true => format!("{} of the configuration", counted(count, "object")),
                false => counted(count, "workload"),
            };
            progress.tell(News::Begun(format!("applying {what}")));
            for of_a_kind in todo.into_values() {
                stream::iter(of_a_kind)
                    .map(|(target, action)| self.write(target, action, end))
                    .buffer_unordered(AT_ONCE)
                    .try_for_each(|()| async { Ok(()) })
                    .await?;
            }
            if first {
                progress.tell(News::Over(Phase::Configuration));
            }
        }
        for place in &plan.removals {
            self.cluster.delete(place).await?;
            progress.tell(News::Done(format!("deleted the {}", place.shown())));
        }
        Ok(())
    }

    async fn write(&self, target: &Target, action: Action, end: Instant) -> Result<(), ApplyError> {
        if action == Action::Replace {
            self.cluster.delete(&target.place).await?;
        }
        if matches!(action, Action::Replace | Action::Create) {
            wait_gone(self.cluster, &target.place, end).await?;
        } else {
            self.take_over(&target.place).await?;
        }
        self.fairly(target, false).await.map(drop)
    }

    /// Makes Helm's fields of an object ours. Somebody may write between reading
    /// and writing it, then it is read again.
    async fn take_over(&self, place: &Place) -> Result<(), ClusterError> {
        for attempt in 0.. {
            let Some(live) = self.cluster.object(place).await? else { return Ok(()) };
            let Some(patch) = takeover(&live) else { return Ok(()) };
            match self.cluster.merge(place, &patch).await {
                Err(error) if error.code() == Some(409) && attempt < 5 => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                result => return result.map(drop),
            }
        }
        Ok(())
    }
}
