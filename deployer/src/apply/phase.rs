//! The groups that an installation is shown in.
//!
//! The chart's pods wait for each other in init containers, so everything is
//! applied at once, and phases are what is waited for in turn.

use std::collections::BTreeSet;

use crate::manifest::Document;

/// A phase, in the order in which they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// All that does not run: Secrets, ConfigMaps, accounts, Services.
    Configuration,
    /// The chart's own database.
    Database,
    /// MAAS's role and database.
    DbInit,
    /// The database's schema.
    Schema,
    /// The secret that regions and racks share.
    SharedSecret,
    /// The regions, with the mirror.
    Region,
    /// MAAS's administrator, and TLS of its API.
    Admin,
    /// MAAS's settings and boot source.
    Settings,
    /// The API key, into its Secret.
    ApiKey,
    /// The racks.
    Rack,
    /// The log server, and what else the values add.
    Others,
    /// The boot images.
    Images,
}

impl Phase {
    /// All, in the order in which they end.
    pub const ALL: [Self; 12] = [
        Self::Configuration,
        Self::Database,
        Self::DbInit,
        Self::Schema,
        Self::SharedSecret,
        Self::Region,
        Self::Admin,
        Self::Settings,
        Self::ApiKey,
        Self::Rack,
        Self::Others,
        Self::Images,
    ];

    /// Its name, one word: for `--phase`, for people and for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Database => "database",
            Self::DbInit => "db-init",
            Self::Schema => "schema",
            Self::SharedSecret => "shared-secret",
            Self::Region => "region",
            Self::Admin => "admin",
            Self::Settings => "settings",
            Self::ApiKey => "api-key",
            Self::Rack => "rack",
            Self::Others => "others",
            Self::Images => "images",
        }
    }

    /// The phase that a word names.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.word() == word)
    }

    /// The phases that a release of these objects has: those with an object at least. Progress
    /// counts them, and `status` lists them.
    #[must_use]
    pub fn of_all(documents: &[Document]) -> BTreeSet<Self> {
        documents.iter().map(Self::of).collect()
    }

    /// The phase of an object.
    #[must_use]
    pub fn of(document: &Document) -> Self {
        if !runs(document.kind()) {
            return Self::Configuration;
        }
        let labels = document.object.pointer("/metadata/labels");
        let component = labels.and_then(|labels| labels.get("app.kubernetes.io/component"));
        match component.and_then(|component| component.as_str()).unwrap_or_default() {
            "postgresql" => Self::Database,
            "db-init" => Self::DbInit,
            "db-sync" => Self::Schema,
            "seed-secret" => Self::SharedSecret,
            "region" => Self::Region,
            "create-admin" | "enable-tls" | "disable-tls" => Self::Admin,
            "configure" => Self::Settings,
            "export-api-key" => Self::ApiKey,
            "rack" => Self::Rack,
            "import-images" => Self::Images,
            _ => Self::Others,
        }
    }
}

/// Whether objects of that kind run, and are waited for.
#[must_use]
pub(crate) fn runs(kind: &str) -> bool {
    matches!(kind, "StatefulSet" | "Deployment" | "DaemonSet" | "Job")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_has_a_word_and_its_place() {
        assert!(Phase::ALL.is_sorted());
        for phase in Phase::ALL {
            assert_eq!(Phase::of_word(phase.word()), Some(phase));
            assert!(!phase.word().contains(' '));
        }
    }

    #[test]
    fn workloads_have_the_phase_of_their_component() {
        let of = |kind: &str, component: &str| {
            let labels = json!({"app.kubernetes.io/component": component});
            let object = json!({"kind": kind, "metadata": {"name": "a", "labels": labels}});
            Phase::of(&Document { source: String::new(), text: String::new(), object })
        };
        assert_eq!(of("ConfigMap", "region"), Phase::Configuration);
        assert_eq!(of("StatefulSet", "region"), Phase::Region);
        assert_eq!(of("Job", "db-sync"), Phase::Schema);
        assert_eq!(of("Deployment", "mine"), Phase::Others);
        assert_eq!(of("StatefulSet", "syslog"), Phase::Others);
        assert!(Phase::Others < Phase::Images);
    }
}
