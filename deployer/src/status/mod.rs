//! How a release stands: one look at everything that tells.
//!
//! Each source has its own bound, and where it cannot be asked, that and why is what is known of
//! it: a look never fails or hangs as a whole.
//!
//! | part | is |
//! |---|---|
//! | `basis` | the release record, and what it says of the rest |
//! | `pods` | pods: ready, restarts, why not |
//! | `events` | the last warnings |
//! | `mirror` | the mirror's snapshot and progress |
//! | `maas` | MAAS's version, racks and images, by its API |
//! | `certificates` | when certificates expire |
//! | `verdict` | what of it is wrong |

mod basis;
mod certificates;
mod events;
mod maas;
mod mirror;
mod pods;
mod verdict;

use std::future::Future;
use std::time::Duration;

use crate::apply::{ApplyError, PhaseState, phases};
use crate::cluster::{Cluster, ClusterError, Place};

pub use basis::ReleaseState;
pub use certificates::{CertificateState, days_until};
pub use events::EventState;
pub use maas::{ImageState, MaasState, RackState};
pub use mirror::{MirrorState, failed_sync};
pub use pods::PodState;

/// How long one source may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// What is known, or why it is not.
pub type Known<T> = Result<T, String>;

/// How a release stands.
#[derive(Debug)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its newest revision.
    pub release: Known<ReleaseState>,
    /// Its phases.
    pub phases: Known<Vec<PhaseState>>,
    /// Its pods.
    pub pods: Known<Vec<PodState>>,
    /// Its mirrors: one in each of the region's pods; none where it has none.
    pub mirrors: Known<Vec<MirrorState>>,
    /// Its MAAS; none where it has no region.
    pub maas: Option<Known<MaasState>>,
    /// Whether the Secret with MAAS's API key is there, by its name; none where it has none.
    pub api_key: Option<(String, Known<bool>)>,
    /// Its certificates.
    pub certificates: Known<Vec<CertificateState>>,
    /// The last warnings.
    pub events: Known<Vec<EventState>>,
    /// What is wrong, in words; empty where all is well as far as it is known.
    pub problems: Vec<String>,
}

/// Looks at the release `name` in `namespace`.
///
/// # Errors
/// [`ApplyError::Absent`] where there is none. All else is in what is returned.
pub async fn look(cluster: &Cluster, name: &str, namespace: &str) -> Result<Status, ApplyError> {
    let (basis, pods, events) = tokio::join!(
        Box::pin(basis::look(cluster, name, namespace)),
        Box::pin(within("list the pods", pods::look(cluster, name, namespace))),
        Box::pin(within("list the events", events::look(cluster, namespace))),
    );
    let basis = basis?;
    let found = pods.as_deref().unwrap_or_default();
    let manifest = &basis.manifest;
    let (phases, mirrors, maas, api_key, certificates) = tokio::join!(
        Box::pin(async {
            let manifest = manifest.as_ref().map_err(Clone::clone)?;
            let work = phases(cluster, name, namespace, manifest);
            within("look at the objects", async {
                work.await.map_err(|error| crate::chain(&error))
            })
            .await
        }),
        Box::pin(mirror::look(cluster, namespace, found)),
        Box::pin(maas::look(cluster, namespace, &basis, found)),
        Box::pin(api_key(cluster, &basis)),
        Box::pin(within("read certificates", certificates::look(cluster, namespace, &basis))),
    );
    let pods = pods.map(|pods| pods.into_iter().map(|pod| pod.state).collect());
    let events = events.map(|events| events::of_release(&events, &basis.prefix(name)));
    let mut status = Status {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        release: basis.release,
        phases,
        mirrors: pods.as_ref().map_err(Clone::clone).map(|_: &Vec<_>| mirrors),
        pods,
        maas,
        api_key,
        certificates,
        events,
        problems: Vec::new(),
    };
    status.problems = verdict::problems(&status);
    Ok(status)
}

/// Whether the Secret with MAAS's API key is there.
async fn api_key(cluster: &Cluster, basis: &basis::Basis) -> Option<(String, Known<bool>)> {
    let (space, name) = basis.api_key.clone()?;
    let work = async {
        let place = Place::named("/api/v1", Some(&space), "secrets", "Secret", &name);
        let place = place.map_err(|error| why(&error))?;
        cluster.object(&place).await.map(|it| it.is_some()).map_err(|it| why(&it))
    };
    Some((format!("{space}/{name}"), within("look for the API key", work).await))
}

/// What comes of `work` within its bound.
async fn within<T>(doing: &str, work: impl Future<Output = Known<T>>) -> Known<T> {
    let late = |_| format!("cannot {doing}: no answer in {}", crate::wait::spoken(PATIENCE));
    tokio::time::timeout(PATIENCE, work).await.map_err(late)?
}

/// An error of the cluster, for a line.
fn why(error: &ClusterError) -> String {
    match error {
        ClusterError::Api { doing, code: 403, .. } => {
            format!("your account has no right to {doing}")
        }
        other => crate::chain(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_source_that_is_silent_is_told_and_not_waited_for() {
        let late = within("ask MAAS", std::future::pending::<Known<()>>()).await;
        assert_eq!(late.unwrap_err(), "cannot ask MAAS: no answer in 8 s");
        assert_eq!(within("ask MAAS", async { Ok(1) }).await, Ok(1));
    }
}
