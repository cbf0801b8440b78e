//! Names of this release, for the commands that a person is told to type.

use super::Settings;

/// What commands name. Without the section `release`, words stand for the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    namespace: String,
    release: String,
    region: String,
}

impl Settings {
    /// Names for commands.
    #[must_use]
    pub fn names(&self) -> Names {
        let release = self.release.as_ref();
        let region = self.region.as_ref().map(|region| region.statefulset.clone());
        let fullname = release.map_or("maas", |release| &release.fullname);
        Names {
            namespace: release.map_or("NAMESPACE", |release| &release.namespace).to_owned(),
            release: release.map_or("RELEASE", |release| &release.name).to_owned(),
            region: region
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| format!("{fullname}-region")),
        }
    }
}

impl Names {
    /// The command that shows the region's log.
    #[must_use]
    pub fn region_logs(&self) -> String {
        let Self { namespace, region, .. } = self;
        format!("kubectl logs -n {namespace} statefulset/{region} -c region --tail=50")
    }

    /// The command that shows the log of the newest Job of a kind.
    #[must_use]
    pub fn job_logs(&self, job: &str) -> String {
        format!("kubectl logs {} --tail=50", self.selected(Some(job)))
    }

    /// The command that does `what` (`get`, `describe`, `delete`) with objects of a kind: those of
    /// a component, or all of the release's.
    #[must_use]
    pub fn kubectl(&self, what: &str, kinds: &str, component: Option<&str>) -> String {
        format!("kubectl {what} {kinds} {}", self.selected(component))
    }

    /// The command that shows what has happened lately.
    #[must_use]
    pub fn events(&self) -> String {
        format!("kubectl get events -n {} --sort-by=.lastTimestamp", self.namespace)
    }

    fn selected(&self, component: Option<&str>) -> String {
        let Self { namespace, release, .. } = self;
        let component = component.map(|one| format!(",app.kubernetes.io/component={one}"));
        let component = component.unwrap_or_default();
        format!("-n {namespace} -l app.kubernetes.io/instance={release}{component}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(settings: &str) -> Names {
        serde_json::from_str::<Settings>(settings).unwrap().names()
    }

    #[test]
    fn commands_can_be_pasted() {
        let names = names(
            r#"{"release": {"name": "site", "namespace": "metal", "fullname": "site-maas"}}"#,
        );
        let region = "kubectl logs -n metal statefulset/site-maas-region -c region --tail=50";
        assert_eq!(names.region_logs(), region);
        let label = "app.kubernetes.io/instance=site";
        assert_eq!(
            names.job_logs("db-init"),
            format!(
                "kubectl logs -n metal -l {label},app.kubernetes.io/component=db-init --tail=50"
            )
        );
        assert_eq!(
            names.kubectl("get", "pods,jobs", None),
            format!("kubectl get pods,jobs -n metal -l {label}")
        );
        assert_eq!(names.events(), "kubectl get events -n metal --sort-by=.lastTimestamp");
    }

    #[test]
    fn without_a_release_words_stand_for_names() {
        assert!(names("{}").job_logs("x").contains("-n NAMESPACE -l"));
        let region = names(r#"{"region": {"url": "http://x/MAAS", "statefulset": "a-region"}}"#);
        assert!(region.region_logs().contains("statefulset/a-region"));
    }
}
