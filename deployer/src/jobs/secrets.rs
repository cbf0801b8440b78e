//! `secrets`: makes the Secrets that are not there yet, and checks the others.
//!
//! What is there is never changed: a password that the database or MAAS knows
//! would not be theirs any more.

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use crate::cluster::{Cluster, Made, SecretData};
use crate::secret::Secret;
use crate::settings::Secrets;

/// A Secret, and what it is to hold.
struct Wanted<'a> {
    name: &'a str,
    generate: bool,
    /// What `kubectl create secret` is to be given where there is none.
    recipe: &'static str,
    data: Vec<(&'static str, Value<'a>)>,
}

enum Value<'a> {
    Given(&'a str),
    Password,
    Shared,
}

/// Makes absent Secrets and checks those that are there.
///
/// # Errors
/// [`JobError`]; all Secrets that are wrong are named in one, before any is made.
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let mut report = Report::default();
    let (namespace, release) = context.release()?;
    let wanted = wanted(context.settings.secrets()?);
    let cluster = context.cluster().await?;
    let (mut wrong, mut absent) = (Vec::new(), Vec::new());
    for secret in &wanted {
        match cluster.secret(namespace, secret.name).await? {
            Some(found) => secret.check(&found, namespace, &mut wrong, &mut report),
            None if secret.generate => absent.push(secret),
            None => wrong.push(format!(
                "there is no Secret {}; make it with: kubectl create secret generic {} -n {namespace} {}",
                secret.name, secret.name, secret.recipe
            )),
        }
    }
    if !wrong.is_empty() {
        return Err(JobError::Preflight {
            reason: "not every Secret is as MAAS needs it".to_owned(),
            details: wrong,
            hint: "make or mend them, then run it again; nothing was made or changed".to_owned(),
        });
    }
    for secret in absent {
        secret.make(&cluster, namespace, release, &mut report).await?;
    }
    Ok(report)
}

fn wanted(settings: &Secrets) -> Vec<Wanted<'_>> {
    let databases = [settings.db_admin.as_ref(), settings.db_user.as_ref()];
    let mut wanted: Vec<Wanted<'_>> = databases
        .into_iter()
        .flatten()
        .map(|secret| Wanted {
            name: &secret.name,
            generate: secret.generate,
            recipe: "--from-literal=DATABASE_USERNAME=NAME --from-file=DATABASE_PASSWORD=FILE",
            data: vec![
                ("DATABASE_USERNAME", Value::Given(&secret.username)),
                ("DATABASE_PASSWORD", Value::Password),
            ],
        })
        .collect();
    wanted.extend(settings.admin.as_ref().map(|secret| Wanted {
        name: &secret.name,
        generate: secret.generate,
        recipe: "--from-literal=USERNAME=NAME --from-literal=EMAIL=ADDRESS --from-file=PASSWORD=FILE",
        data: vec![
            ("USERNAME", Value::Given(&secret.username)),
            ("PASSWORD", Value::Password),
            ("EMAIL", Value::Given(&secret.email)),
        ],
    }));
    wanted.extend(settings.region.as_ref().map(|secret| Wanted {
        name: &secret.name,
        generate: secret.generate,
        // Racks alone: it is their region's, in its /var/lib/maas/secret.
        recipe: "--from-file=REGION_SECRET=FILE, where FILE has what is in /var/lib/maas/secret of the region",
        data: vec![("REGION_SECRET", Value::Shared)],
    }));
    wanted
}

impl Wanted<'_> {
    fn check(
        &self,
        found: &SecretData,
        namespace: &str,
        wrong: &mut Vec<String>,
        report: &mut Report,
    ) {
        let lacks = |key: &&str| found.get(*key).is_none_or(|value| value.expose().is_empty());
        let missing: Vec<&str> = self.data.iter().map(|(key, _)| *key).filter(lacks).collect();
        if missing.is_empty() {
            report.noted(format!("the Secret {} is there", self.name));
        } else {
            let (name, keys) = (self.name, missing.join(" and "));
            wrong.push(format!("the Secret {namespace}/{name} lacks {keys}"));
        }
    }

    async fn make(
        &self,
        cluster: &Cluster,
        namespace: &str,
        release: &str,
        report: &mut Report,
    ) -> Result<(), JobError> {
        let mut data = SecretData::new();
        for (key, value) in &self.data {
            let value = match value {
                Value::Given("") => {
                    let name = self.name;
                    let reason = format!("the settings give no {key} for the Secret {name}");
                    return Err(JobError::Settings(reason));
                }
                Value::Given(text) => Secret::new(*text),
                Value::Password => Secret::password(),
                Value::Shared => Secret::shared(),
            };
            data.insert((*key).to_owned(), value);
        }
        let labels = [("app.kubernetes.io/name", "maas"), ("app.kubernetes.io/instance", release)];
        match cluster.make_secret(namespace, self.name, &labels, &data).await? {
            Made::New => report.changed(format!("made the Secret {}", self.name)),
            Made::Before => report.noted(format!("the Secret {} was just made", self.name)),
        }
        Ok(())
    }
}
