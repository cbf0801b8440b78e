//! Why a job failed.

use std::io;
use std::path::PathBuf;

use super::schema;
use crate::cluster::ClusterError;
use crate::database::{DatabaseError, IdentifierError};
use crate::keyring::KeyringError;
use crate::maas::{ConfigError, KeyError, MaasError};
use crate::region_command::CommandError;
use crate::secret::SecretError;
use crate::settings::MissingSection;
use crate::version::{Version, VersionError};
use crate::wait::WaitError;

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The chart did not give it what it needs.
    #[error(transparent)]
    Section(#[from] MissingSection),
    /// A setting is wrong.
    #[error("{0}")]
    Settings(String),
    /// A secret's file cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// MAAS.
    #[error(transparent)]
    Maas(#[from] MaasError),
    /// The client of MAAS.
    #[error(transparent)]
    MaasConfig(#[from] ConfigError),
    /// The API key's form.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Kubernetes.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A program of the image.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A wait was over.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// A keyring.
    #[error("cannot use the keyring {}", path.display())]
    Keyring {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: KeyringError,
    },
    /// A file.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was to be done with it.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The image's version cannot be told.
    #[error("cannot tell the version of MAAS in this image")]
    ImageVersion(#[source] VersionError),
    /// What db-sync recorded cannot be read.
    #[error("cannot read what maas_deployer.schema_record says of the schema")]
    Record(#[source] VersionError),
    /// The database's server is too old for MAAS.
    #[error("the database server is PostgreSQL {found}; MAAS needs 14 or newer")]
    OldServer {
        /// Its version.
        found: String,
    },
    /// The schema is of a newer MAAS.
    #[error(
        "the database was used by MAAS {recorded}, and this image has MAAS {image}, which is older"
    )]
    Downgrade {
        /// What db-sync recorded.
        recorded: Version,
        /// What this image has.
        image: Version,
    },
    /// The schema is half way to a newer MAAS.
    #[error(
        "a migration of the database's schema {} has begun and not ended, and this image has MAAS {image}, which is older",
        schema::way(*from, *to)
    )]
    HalfMigrated {
        /// What it was of; `None` where there was none.
        from: Option<Version>,
        /// What it will be of.
        to: Version,
        /// What this image has.
        image: Version,
    },
    /// A migration of the schema ended half way.
    #[error("the migration of the schema {way} has begun and not ended")]
    Migration {
        /// From what to what.
        way: String,
        /// How it ended.
        source: CommandError,
    },
    /// Refused before anything was changed: the reason, and what to do.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// Found wrong, half way or at the end: the reason, and what to do.
    #[error("{reason}")]
    Failed {
        /// Why.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// Several things are wrong that must be right before anything is begun.
    #[error("{reason}")]
    Preflight {
        /// What they have in common.
        reason: String,
        /// Each of them.
        details: Vec<String>,
        /// What to do.
        hint: String,
    },
    /// Several things are wrong.
    #[error("{reason}")]
    Several {
        /// What they have in common.
        reason: String,
        /// Each of them.
        details: Vec<String>,
        /// What to do.
        hint: String,
    },
}

impl From<IdentifierError> for JobError {
    fn from(error: IdentifierError) -> Self {
        Self::Database(error.into())
    }
}

impl JobError {
    pub(super) fn refused(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into(), hint: hint.into() }
    }

    pub(super) fn failed(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), hint: hint.into() }
    }
}
