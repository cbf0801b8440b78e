//! Hooks of a release.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Stamp;
use crate::manifest::Document;

/// An object that is made at an event of the release's life.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hook {
    /// The object's name.
    #[serde(default)]
    pub name: String,
    /// Its kind.
    #[serde(default)]
    pub kind: String,
    /// The template it comes from.
    #[serde(default)]
    pub path: String,
    /// Its text.
    #[serde(default)]
    pub manifest: String,
    /// When it runs: `pre-install`, `test` and others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// How it ran last.
    #[serde(default)]
    pub last_run: LastRun,
    /// Those of less weight run first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub weight: i64,
    /// When the object is removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete_policies: Vec<String>,
    /// What a newer Helm may write.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// How a hook ran last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LastRun {
    /// When it began.
    #[serde(default)]
    pub started_at: Stamp,
    /// When it ended.
    #[serde(default)]
    pub completed_at: Stamp,
    /// How it stands; empty where it never ran.
    #[serde(default)]
    pub phase: String,
    /// What a newer Helm may write.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// How a hook stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPhase {
    /// It runs.
    Running,
    /// It ended well.
    Succeeded,
    /// It failed.
    Failed,
}

impl HookPhase {
    fn text(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// An event of a release's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says itself")]
pub enum Event {
    PreInstall,
    PostInstall,
    PreUpgrade,
    PostUpgrade,
    PreRollback,
    PostRollback,
    PreDelete,
    PostDelete,
}

impl Event {
    /// As annotations name it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::PreInstall => "pre-install",
            Self::PostInstall => "post-install",
            Self::PreUpgrade => "pre-upgrade",
            Self::PostUpgrade => "post-upgrade",
            Self::PreRollback => "pre-rollback",
            Self::PostRollback => "post-rollback",
            Self::PreDelete => "pre-delete",
            Self::PostDelete => "post-delete",
        }
    }
}

/// When a hook's object is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletePolicy {
    /// Before it is made again.
    BeforeCreation,
    /// When all hooks of the event have succeeded.
    Succeeded,
    /// When it has failed.
    Failed,
}

impl DeletePolicy {
    fn text(self) -> &'static str {
        match self {
            Self::BeforeCreation => "before-hook-creation",
            Self::Succeeded => "hook-succeeded",
            Self::Failed => "hook-failed",
        }
    }
}

impl Hook {
    /// The hook that a rendered object is; `None` where it is none.
    #[must_use]
    pub fn of(document: &Document) -> Option<Self> {
        let list = |name: &str| -> Vec<String> {
            let text = document.annotation(name).unwrap_or_default();
            let parts = text.split(',').map(|part| part.trim().to_lowercase());
            parts.filter(|part| !part.is_empty()).collect()
        };
        let events = list("helm.sh/hook");
        if events.is_empty() {
            return None;
        }
        let weight = document.annotation("helm.sh/hook-weight").unwrap_or_default();
        Some(Self {
            name: document.name().to_owned(),
            kind: document.kind().to_owned(),
            path: document.source.clone(),
            manifest: document.text.trim().to_owned(),
            events,
            last_run: LastRun::default(),
            weight: weight.trim().parse().unwrap_or(0),
            delete_policies: list("helm.sh/hook-delete-policy"),
            rest: Map::new(),
        })
    }

    /// Whether it runs at `event`.
    #[must_use]
    pub fn runs_at(&self, event: Event) -> bool {
        self.events.iter().any(|held| held == event.text())
    }

    /// Whether its object is removed then. Helm never removes definitions of
    /// kinds, as all objects of the kind would go with it.
    #[must_use]
    pub fn is_deleted(&self, policy: DeletePolicy) -> bool {
        if self.kind == "CustomResourceDefinition" {
            return false;
        }
        if self.delete_policies.is_empty() {
            return policy == DeletePolicy::BeforeCreation;
        }
        self.delete_policies.iter().any(|held| held == policy.text())
    }

    /// Notes that it runs or has ended.
    pub fn note(&mut self, phase: HookPhase) {
        let now = Stamp::now();
        if phase == HookPhase::Running {
            self.last_run = LastRun { started_at: now, ..LastRun::default() };
        } else {
            self.last_run.completed_at = now;
        }
        phase.text().clone_into(&mut self.last_run.phase);
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(weight: &i64) -> bool {
    *weight == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hook(annotations: &Value) -> Option<Hook> {
        Hook::of(&Document {
            source: "maas/templates/hooks.yaml".into(),
            text: "kind: Job\n".into(),
            object: json!({"kind": "Job", "metadata": {"name": "a", "annotations": annotations}}),
        })
    }

    #[test]
    fn annotations_make_a_hook() {
        let made =
            hook(&json!({"helm.sh/hook": "pre-install, Pre-Upgrade", "helm.sh/hook-weight": "-20",
            "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded"}))
            .unwrap();
        assert!(made.runs_at(Event::PreUpgrade) && !made.runs_at(Event::PreRollback));
        assert_eq!(made.weight, -20);
        assert!(made.is_deleted(DeletePolicy::Succeeded) && !made.is_deleted(DeletePolicy::Failed));
        assert!(hook(&json!({"a": "b"})).is_none());
    }

    #[test]
    fn without_a_policy_it_goes_before_it_is_made_again() {
        let mut made = hook(&json!({"helm.sh/hook": "pre-install"})).unwrap();
        assert!(made.is_deleted(DeletePolicy::BeforeCreation));
        assert!(!made.is_deleted(DeletePolicy::Succeeded));
        made.note(HookPhase::Running);
        made.note(HookPhase::Failed);
        assert_eq!(made.last_run.phase, "Failed");
        assert!(made.last_run.started_at.time() <= made.last_run.completed_at.time());
    }
}
