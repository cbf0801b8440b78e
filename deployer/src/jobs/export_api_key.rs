//! `export-api-key`: MAAS's API key in its Secret, for other jobs and programs.

use super::context::{Context, parse_key};
use super::error::JobError;
use super::report::Report;
use crate::cluster::{Cluster, Made, SecretData};
use crate::maas::{ApiKey, Client};
use crate::settings::ApiKeySecret;

/// The key in the Secret.
const KEY: &str = "token";

/// Writes the administrator's API key to its Secret, unless the key that is
/// there works. The Secret is made or changed, never deleted: whoever reads it
/// finds a key at any time.
///
/// # Errors
/// [`JobError`].
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let mut report = Report::default();
    let settings = context.settings.secrets()?;
    let secret = settings
        .api_key
        .as_ref()
        .ok_or_else(|| JobError::Settings("the settings have no secrets.api_key".to_owned()))?;
    let place = format!("{}/{}", secret.namespace, secret.name);
    let cluster = context.cluster().await?;
    let maas = context.maas().await?;
    let found = cluster.secret(&secret.namespace, &secret.name).await?;
    let held = found.as_ref().and_then(|data| data.get(KEY));
    if let Some(held) = held
        && let Ok(key) = parse_key(held)
        && works(&maas, key, &place).await?
    {
        report.noted(format!("the API key in the Secret {place} works"));
        return Ok(report);
    }
    let key = context.key_of_admin(&maas).await?;
    write(&cluster, secret, &key).await?;
    report.changed(format!("wrote the API key to the Secret {place}"));
    Ok(report)
}

/// Whether MAAS takes the key, and it is an administrator's.
async fn works(maas: &Client, key: ApiKey, place: &str) -> Result<bool, JobError> {
    match maas.clone().with_key(key).whoami().await {
        Ok(user) if user.is_superuser => Ok(true),
        Ok(user) => {
            tracing::warn!(user = user.username, "the key in the Secret is no administrator's");
            Ok(false)
        }
        Err(error) if error.is_key_refused() => {
            tracing::warn!(secret = place, "MAAS does not accept the key in the Secret");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

async fn write(cluster: &Cluster, secret: &ApiKeySecret, key: &ApiKey) -> Result<(), JobError> {
    let data = SecretData::from([(KEY.to_owned(), key.text())]);
    match cluster.make_secret(&secret.namespace, &secret.name, &[], &data).await? {
        Made::New => Ok(()),
        Made::Before => Ok(cluster.set_in_secret(&secret.namespace, &secret.name, &data).await?),
    }
}
