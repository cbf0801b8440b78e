//! What the chart tells a job: JSON, in sections.
//!
//! Each pod gets only the sections that it needs, so that a job is made anew,
//! and a pod restarted, only when something changed that it uses. Unknown keys
//! are errors; a job that lacks a section says which.

mod load;
mod names;
mod tls;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

pub(crate) use load::VARIABLE;
pub use load::{LoadError, Source, load};
pub use names::Names;
pub use tls::Tls;
pub use value::ConfigValue;

/// All sections; see `docs/deployer-jobs.md`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    release: Option<Release>,
    secrets: Option<Secrets>,
    database: Option<Database>,
    region: Option<Region>,
    tls: Option<Tls>,
    mirror: Option<Mirror>,
    boot_source: Option<BootSource>,
    images: Option<Images>,
    config: Option<BTreeMap<String, ConfigValue>>,
    rack: Option<Rack>,
    upgrade: Option<Upgrade>,
}

/// A section that a job needs and was not given.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the settings have no section '{0}', which this job needs")]
pub struct MissingSection(pub &'static str);

macro_rules! sections {
    ($($name:ident: $kind:ty),*) => {
        impl Settings {
            $(
                #[doc = concat!("The section `", stringify!($name), "`.")]
                ///
                /// # Errors
                /// [`MissingSection`] where it was not given.
                pub fn $name(&self) -> Result<&$kind, MissingSection> {
                    self.$name.as_ref().ok_or(MissingSection(stringify!($name)))
                }
            )*
        }
    };
}
sections!(
    release: Release, secrets: Secrets, database: Database, region: Region, mirror: Mirror,
    boot_source: BootSource, images: Images, config: BTreeMap<String, ConfigValue>, rack: Rack,
    upgrade: Upgrade
);

impl Settings {
    /// The section `tls`; without it, MAAS's API is plain HTTP.
    #[must_use]
    pub fn tls(&self) -> Tls {
        self.tls.clone().unwrap_or_default()
    }
}

/// The Helm release.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What the names of its objects begin with.
    pub fullname: String,
    /// The chart's version.
    #[serde(default)]
    pub chart_version: String,
}

/// The Secrets that jobs make, check or write.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// The database's administrator.
    pub db_admin: Option<DatabaseSecret>,
    /// MAAS's own user of the database.
    pub db_user: Option<DatabaseSecret>,
    /// MAAS's administrator.
    pub admin: Option<AdminSecret>,
    /// The secret that regions and racks share.
    pub region: Option<RegionSecret>,
    /// MAAS's API key.
    pub api_key: Option<ApiKeySecret>,
}

/// A Secret with a login of the database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSecret {
    /// The Secret's name.
    pub name: String,
    /// Whether it is made where it is not there.
    #[serde(default)]
    pub generate: bool,
    /// The user that it is made for.
    #[serde(default)]
    pub username: String,
}

/// The Secret with the login of MAAS's administrator.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSecret {
    /// The Secret's name.
    pub name: String,
    /// Whether it is made where it is not there.
    #[serde(default)]
    pub generate: bool,
    /// The user that it is made for.
    #[serde(default)]
    pub username: String,
    /// That user's e-mail address.
    #[serde(default)]
    pub email: String,
}

/// The Secret that regions and racks share.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionSecret {
    /// The Secret's name.
    pub name: String,
    /// Whether it is made where it is not there.
    #[serde(default)]
    pub generate: bool,
}

/// The Secret that MAAS's API key is written to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeySecret {
    /// The Secret's name.
    pub name: String,
    /// Its namespace, which need not be the release's.
    pub namespace: String,
}

/// MAAS's database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The server.
    pub host: String,
    /// Its port.
    #[serde(default = "default_postgres_port")]
    pub port: u16,
    /// The database's name.
    pub name: String,
    /// Whether the chart runs the server.
    #[serde(default)]
    pub bundled: bool,
    /// TLS to the server.
    #[serde(default)]
    pub tls: DatabaseTls,
}

fn default_postgres_port() -> u16 {
    5432
}

/// TLS to the database.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseTls {
    /// Whether, and how strictly.
    #[serde(default)]
    pub mode: SslMode,
    /// Whether `database-ca/ca.crt` is mounted.
    #[serde(default)]
    pub ca: bool,
}

/// libpq's `sslmode`, without `allow`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Plain TCP.
    Disable,
    /// TLS where the server has it; nothing is verified.
    #[default]
    Prefer,
    /// TLS, unverified unless a CA is given.
    Require,
    /// TLS; the certificate's issuer is verified.
    VerifyCa,
    /// TLS; issuer and host name are verified.
    VerifyFull,
}

impl fmt::Display for SslMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        })
    }
}

/// MAAS's regions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Where jobs and racks reach MAAS, up to and with `/MAAS`.
    pub url: String,
    /// The URL that MAAS gives to machines.
    #[serde(default)]
    pub maas_url: String,
    /// The StatefulSet of the regions.
    #[serde(default)]
    pub statefulset: String,
    /// Worker processes of a region.
    pub workers: Option<u32>,
}

impl Region {
    /// The URL that MAAS gives to machines; where none is set, the jobs' own.
    #[must_use]
    pub fn maas_url(&self) -> &str {
        if self.maas_url.is_empty() { &self.url } else { &self.maas_url }
    }
}

/// What an upgrade brings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The region's image, as its pods will name it.
    pub region_image: String,
}

/// The mirror of boot images: one beside each region, which imports from that one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Where jobs reach any of them.
    pub url: String,
    /// Where they reach each, with `{}` for the number of its region.
    #[serde(default)]
    pub each: String,
    /// How many regions there are.
    #[serde(default)]
    pub regions: u32,
    /// How long to wait until it is ready, such as `7d`.
    #[serde(default, deserialize_with = "duration")]
    pub wait: Option<Duration>,
}

impl Mirror {
    /// The URL of each mirror; where there is no region yet, the one for any of them.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        if self.regions == 0 || self.each.is_empty() {
            return vec![self.url.clone()];
        }
        (0..self.regions).map(|number| self.each.replace("{}", &number.to_string())).collect()
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    crate::duration::parse(&text).map(Some).map_err(serde::de::Error::custom)
}

/// Where MAAS takes boot images from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootSource {
    /// The URL, as the region reaches it.
    pub url: String,
    /// Whether `keyring/keyring.gpg` is mounted.
    #[serde(default)]
    pub keyring: bool,
    /// A keyring that the region's image has.
    #[serde(default)]
    pub keyring_filename: String,
}

/// Which images MAAS imports, and what it uses them for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// The operating system.
    pub os: String,
    /// The release that machines get by default.
    pub release: String,
    /// Their oldest kernel, such as `ga-16.04`; empty for any.
    #[serde(default)]
    pub kernel: String,
    /// The release that machines are commissioned with.
    #[serde(default)]
    pub commissioning_release: String,
    /// More releases to import.
    #[serde(default)]
    pub releases: Vec<String>,
    /// Architectures to import.
    #[serde(default = "default_arches")]
    pub arches: Vec<String>,
    /// How long an import may take, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_s: u64,
    /// After how many seconds without a byte an import is called stalled.
    #[serde(default = "default_stall")]
    pub stall_s: u64,
}

fn default_arches() -> Vec<String> {
    vec!["amd64".to_owned()]
}

fn default_timeout() -> u64 {
    7200
}

fn default_stall() -> u64 {
    900
}

impl Images {
    /// The release that machines are commissioned with; where none is set, the
    /// default release.
    #[must_use]
    pub fn commissioning(&self) -> &str {
        if self.commissioning_release.is_empty() {
            &self.release
        } else {
            &self.commissioning_release
        }
    }

    /// Every release to import, sorted, each once.
    #[must_use]
    pub fn wanted(&self) -> Vec<&str> {
        let all = self
            .releases
            .iter()
            .map(String::as_str)
            .chain([self.release.as_str(), self.commissioning()]);
        let mut wanted: Vec<&str> = all.filter(|release| !release.is_empty()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }
}

/// Racks; they have no settings yet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rack {}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(json: &str) -> Images {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_release_is_wanted_once() {
        let images = images(
            r#"{"os":"ubuntu","release":"xenial","commissioning_release":"noble",
                "releases":["noble","jammy","xenial"]}"#,
        );
        assert_eq!(images.wanted(), ["jammy", "noble", "xenial"]);
        assert_eq!((images.timeout_s, images.stall_s), (7200, 900));
        assert_eq!(images.arches, ["amd64"]);
    }

    #[test]
    fn the_default_release_commissions_where_no_other_is_set() {
        let images = images(r#"{"os":"ubuntu","release":"noble"}"#);
        assert_eq!((images.commissioning(), images.wanted()), ("noble", vec!["noble"]));
    }

    #[test]
    fn a_missing_section_has_its_name() {
        let settings = Settings::default();
        let error = settings.database().unwrap_err().to_string();
        assert_eq!(error, "the settings have no section 'database', which this job needs");
    }

    #[test]
    fn every_mode_of_libpq_is_read() {
        for mode in ["disable", "prefer", "require", "verify-ca", "verify-full"] {
            let read: SslMode = serde_json::from_str(&format!("\"{mode}\"")).unwrap();
            assert_eq!(read.to_string(), mode);
        }
        assert!(serde_json::from_str::<SslMode>("\"allow\"").is_err());
    }
}
