//! StatefulSets, Jobs and pods.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod as KubePod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::error::ClusterError;
use super::image::{self, Image};
use super::{Cluster, JOBS, patiently};
use crate::counted::counted;

/// A pod, as far as a job cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    pub phase: String,
    /// Whether it is on its way out.
    pub is_ending: bool,
    /// The object that made it.
    pub owner: Option<String>,
    /// What its containers run, by their names; init containers are left out.
    pub images: BTreeMap<String, Image>,
}

impl Pod {
    /// `maas-region-0 (Running, ending)`.
    #[must_use]
    pub fn shown(&self) -> String {
        let ending = if self.is_ending { ", ending" } else { "" };
        format!("{} ({}{ending})", self.name, self.phase)
    }

    /// Whether its containers may run, now or soon.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}

impl From<KubePod> for Pod {
    fn from(pod: KubePod) -> Self {
        Self {
            name: pod.name_any(),
            is_ending: pod.metadata.deletion_timestamp.is_some(),
            owner: pod.owner_references().first().map(|owner| owner.name.clone()),
            images: image::of(&pod),
            phase: pod.status.and_then(|status| status.phase).unwrap_or_default(),
        }
    }
}

/// How many pods a StatefulSet wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// How many it wants.
    pub wanted: i32,
}

/// How a Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// There is none.
    Absent,
    /// It is under way.
    Active(String),
    /// It is done.
    Complete,
    /// It has failed for good.
    Failed(String),
}

/// A Job of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedJob {
    /// Its name.
    pub name: String,
    /// What tells it from others of its name.
    pub uid: Option<String>,
    /// Its label `app.kubernetes.io/component`.
    pub component: Option<String>,
    /// Whether it is a hook of Helm's.
    pub is_hook: bool,
    /// How it stands.
    pub state: JobState,
}

impl ListedJob {
    /// Whether both are the same object, whatever became of it.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.uid == other.uid
    }
}

impl From<&Job> for ListedJob {
    fn from(job: &Job) -> Self {
        Self {
            name: job.name_any(),
            uid: job.uid(),
            component: job.labels().get("app.kubernetes.io/component").cloned(),
            is_hook: job.annotations().contains_key("helm.sh/hook"),
            state: state(job),
        }
    }
}

impl Cluster {
    /// How many pods a StatefulSet wants; `None` where there is none.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn scale(&self, namespace: &str, name: &str) -> Result<Option<Scale>, ClusterError> {
        let api: Api<StatefulSet> = Api::namespaced(self.client.clone(), namespace);
        let doing = format!("read the StatefulSet {namespace}/{name}");
        let found = patiently(&doing, async || api.get_opt(name).await).await?;
        Ok(found.map(|set| Scale { wanted: set.spec.and_then(|spec| spec.replicas).unwrap_or(1) }))
    }

    /// Makes a StatefulSet want `replicas` pods.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn set_scale(
        &self,
        namespace: &str,
        name: &str,
        replicas: i32,
    ) -> Result<(), ClusterError> {
        let api: Api<StatefulSet> = Api::namespaced(self.client.clone(), namespace);
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let doing = format!("scale the StatefulSet {namespace}/{name} to {replicas}");
        // By this name the upgrade that follows knows whose change it may undo.
        let parameters =
            PatchParams { field_manager: Some(JOBS.to_owned()), ..PatchParams::default() };
        patiently(&doing, async || api.patch_scale(name, &parameters, &patch).await).await.map(drop)
    }

    /// The image that the containers called `container` of a StatefulSet's next pods get; `None`
    /// where there is no such StatefulSet or container.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn next_image(
        &self,
        namespace: &str,
        name: &str,
        container: &str,
    ) -> Result<Option<String>, ClusterError> {
        let api: Api<StatefulSet> = Api::namespaced(self.client.clone(), namespace);
        let doing = format!("read the StatefulSet {namespace}/{name}");
        let found = patiently(&doing, async || api.get_opt(name).await).await?;
        let pod = found.and_then(|set| set.spec).and_then(|spec| spec.template.spec);
        let mut containers = pod.map(|pod| pod.containers).unwrap_or_default().into_iter();
        Ok(containers.find(|one| one.name == container).and_then(|one| one.image))
    }

    /// A pod; `None` where there is none.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, ClusterError> {
        let api: Api<KubePod> = Api::namespaced(self.client.clone(), namespace);
        let doing = format!("read the pod {namespace}/{name}");
        Ok(patiently(&doing, async || api.get_opt(name).await).await?.map(Pod::from))
    }

    /// The pods that fit a selector.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>, ClusterError> {
        let api: Api<KubePod> = Api::namespaced(self.client.clone(), namespace);
        let parameters = ListParams::default().labels(selector);
        let doing = format!("list the pods in {namespace}");
        let list = patiently(&doing, async || api.list(&parameters).await).await?;
        Ok(list.items.into_iter().map(Pod::from).collect())
    }

    /// Those of them that a StatefulSet made.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn pods_of(
        &self,
        namespace: &str,
        selector: &str,
        statefulset: &str,
    ) -> Result<Vec<Pod>, ClusterError> {
        let mut pods = self.pods(namespace, selector).await?;
        pods.retain(|pod| pod.owner.as_deref() == Some(statefulset));
        Ok(pods)
    }

    /// How a Job stands.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn job(&self, namespace: &str, name: &str) -> Result<JobState, ClusterError> {
        let api = self.jobs(namespace);
        let doing = format!("read the Job {namespace}/{name}");
        let found = patiently(&doing, async || api.get_opt(name).await).await?;
        Ok(found.as_ref().map_or(JobState::Absent, state))
    }

    /// The Jobs that fit a selector.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn jobs_of(
        &self,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<ListedJob>, ClusterError> {
        let api = self.jobs(namespace);
        let parameters = ListParams::default().labels(selector);
        let doing = format!("list the Jobs in {namespace}");
        let list = patiently(&doing, async || api.list(&parameters).await).await?;
        Ok(list.items.iter().map(ListedJob::from).collect())
    }

    /// Deletes a Job, its pods soon after it, and says whether it was there: another one that has
    /// taken its name since it was listed is left.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn delete_job(&self, namespace: &str, job: &ListedJob) -> Result<bool, ClusterError> {
        let api = self.jobs(namespace);
        let doing = format!("delete the Job {namespace}/{}", job.name);
        let parameters = DeleteParams {
            preconditions: job
                .uid
                .clone()
                .map(|uid| Preconditions { uid: Some(uid), resource_version: None }),
            ..DeleteParams::background()
        };
        match patiently(&doing, async || api.delete(&job.name, &parameters).await).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn jobs(&self, namespace: &str) -> Api<Job> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

fn state(job: &Job) -> JobState {
    let status = job.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let holds = |kind: &str| conditions.iter().find(|c| c.type_ == kind && c.status == "True");
    if holds("Complete").is_some() {
        return JobState::Complete;
    }
    if let Some(failed) = holds("Failed") {
        let parts = [failed.reason.as_deref(), failed.message.as_deref()];
        return JobState::Failed(parts.into_iter().flatten().collect::<Vec<_>>().join(": "));
    }
    let count = |number: Option<i32>| number.unwrap_or(0);
    let (active, failed) =
        status.map_or((0, 0), |status| (count(status.active), count(status.failed)));
    JobState::Active(format!("it has {} running and {failed} failed", counted(active, "pod")))
}
