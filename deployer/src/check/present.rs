//! What is asked of a release that is installed.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::gather::{Groups, Subject, unseen};
use super::known::Known;
use super::report::{Check, Report};
use super::workloads::Workload;
use super::{Checking, PRESENT, certificates, installed, secrets};
use crate::apply::{ApplyError, Progress, readiness_of, try_each};
use crate::certificate::expiry;
use crate::cluster::Place;
use crate::release::{Candidate, Stored};

impl Checking<'_> {
    /// Checks whether what is installed works. Nothing is written but one probe, which
    /// [`Checking::clean`] removes.
    ///
    /// # Errors
    /// Where the recorded manifest cannot be read.
    pub async fn present(
        &self,
        last: Option<&Stored>,
        progress: &dyn Progress,
    ) -> Result<Report, ApplyError> {
        let mut groups = Groups::new(&PRESENT, progress);
        groups.begin("kubernetes");
        let (checks, _) = self.kubernetes(false).await;
        groups.add("kubernetes", checks);
        groups.add("release", installed::release(self.names, last));
        let Some(stored) = last else { return Ok(groups.report) };
        let subject = Subject::new(&Candidate::of_release(&stored.release), last)?;
        groups.begin("workloads");
        groups.add("workloads", self.workloads(&subject).await);
        groups.begin("secrets");
        let (checks, ends) = self.mounted(&subject).await;
        groups.add("secrets", checks);
        groups.add("certificates", ends);
        groups.begin("maas");
        groups.add("maas", self.maas(&subject).await);
        groups.begin("drift");
        groups.add("drift", self.drift(&subject).await);
        Ok(groups.report)
    }

    async fn workloads(&self, subject: &Subject<'_>) -> Vec<Check> {
        let all: Vec<_> = subject.documents.iter().collect();
        let known = match Known::ask(self.cluster, &all).await {
            Ok(known) => known,
            Err(error) => return vec![unseen("workloads.all", "the workloads", &error)],
        };
        let place = Place::list("/api/v1", Some(&self.names.namespace), "pods");
        let selector = format!("app.kubernetes.io/instance={}", self.names.release);
        let pods = self.cluster.list("list the pods", &place, ("labelSelector", &selector)).await;
        let pods: Vec<Pod> = pods
            .unwrap_or_default()
            .into_iter()
            .filter_map(|pod| serde_json::from_value(pod).ok())
            .collect();
        let mut checks = Vec::new();
        for (document, workload) in
            subject.documents.iter().filter_map(|one| Some((one, of(&subject.workloads, one)?)))
        {
            let Some(place) = known.place(document, &self.names.namespace) else { continue };
            let live = match self.cluster.object(&place).await {
                Ok(live) => live,
                Err(error) => {
                    checks.push(unseen("workloads.all", &workload.shown(), &error));
                    continue;
                }
            };
            let state = live.map(|live| readiness_of(&workload.kind, &live));
            // A CronJob waits for its hour.
            if let Some(None) = state {
                continue;
            }
            checks.push(installed::workload(self.names, workload, state.flatten(), &pods));
        }
        checks
    }

    /// Secrets that pods mount, and the ends of certificates among them.
    async fn mounted(&self, subject: &Subject<'_>) -> (Vec<Check>, Vec<Check>) {
        let staying: Vec<Workload> = subject
            .workloads
            .iter()
            .filter(|one| one.stays() || one.kind == "Job")
            .cloned()
            .collect();
        let hooks: Vec<&str> = subject.hooks.iter().map(crate::manifest::Document::name).collect();
        let staying: Vec<Workload> =
            staying.into_iter().filter(|one| !hooks.contains(&one.name.as_str())).collect();
        let wanted = secrets::wanted(&staying, &subject.documents);
        let found = self.secrets(&wanted).await;
        let checks = secrets::judge("secrets.there", self.names, &wanted, &found);
        let mut ends = Vec::new();
        let is_certificate = |name: &&String| {
            found.get(*name).and_then(Option::as_ref).is_some_and(|keys| keys.contains("tls.crt"))
        };
        for name in wanted.keys().filter(is_certificate) {
            let held = self.cluster.secret(&self.names.namespace, name).await;
            let end = held.map_err(|error| error.to_string()).and_then(|held| {
                let pem = held.as_ref().and_then(|held| held.get("tls.crt"));
                expiry(pem.map_or("", |pem| pem.expose()).as_bytes())
            });
            ends.push(certificates::judge(self.names, name, end, Timestamp::now()));
        }
        if ends.is_empty() {
            let what = "certificates that pods and Ingresses use";
            ends.push(Check::skip("certificates.end", what, "there are none"));
        }
        (checks, ends)
    }

    async fn maas(&self, subject: &Subject<'_>) -> Vec<Check> {
        let (id, what) = ("maas.test", "MAAS, from a pod");
        let test =
            subject.workloads.iter().find(|one| one.kind == "Pod" && one.component == "test");
        let Some(test) = test else {
            let why = "the values turn it off (manifests.test_maas_api)";
            return vec![Check::skip(id, what, why)];
        };
        if let Some(skip) = self.no_probes(id, what, true) {
            return vec![skip];
        }
        match self.run(&installed::test(test)).await {
            Ok((ended, log)) => installed::maas(self.names, &ended, &log),
            Err(error) => vec![unseen(id, what, &error)],
        }
    }

    async fn drift(&self, subject: &Subject<'_>) -> Vec<Check> {
        let (release, space) = (&self.names.release, &self.names.namespace);
        let held = &subject.documents;
        let trials = try_each(self.cluster, release, space, held, held).await;
        installed::drift(self.names, &trials)
    }
}

fn of<'a>(workloads: &'a [Workload], document: &crate::manifest::Document) -> Option<&'a Workload> {
    workloads.iter().find(|one| one.kind == document.kind() && one.name == document.name())
}
