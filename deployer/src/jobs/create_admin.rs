//! `create-admin`: MAAS's first administrator.

use std::time::Duration;

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::{region_image, schema};
use crate::database::Session;
use crate::region_command::Run;
use crate::secret::{Login, Secret};

/// How long `createadmin` may take. It has been seen to ask for ever.
const LIMIT: Duration = Duration::from_secs(300);

/// Makes the administrator, unless there is one of that name.
///
/// # Errors
/// [`JobError`]; also where a user of that name is no administrator.
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let mut report = Report::default();
    let admin = context.mounts.admin()?;
    let email = context.mounts.admin_email()?;
    check(&admin, &email)?;
    let session = context.maas_database().await?;
    if is_there(&session, &admin.username).await? {
        report.noted(format!("the administrator {} is there", admin.username));
        return Ok(report);
    }
    address_is_free(&session, &email).await?;
    region_image::configure(context)?;
    let password = admin.password.expose();
    // Asked twice. Without --ssh-import it would ask once more.
    let stdin = Secret::new(format!("{password}\n{password}\n"));
    let args = ["createadmin", "--username", &admin.username, "--email", &email, "--ssh-import="];
    let made = Run::maas_region(LIMIT)
        .args(args)
        .stdin(stdin)
        .mask(&admin.password)
        .mask(&context.mounts.database_user()?.password)
        .run()
        .await;
    match made {
        Ok(_) if is_there(&session, &admin.username).await? => {
            report.changed(format!("made the administrator {}", admin.username));
            Ok(report)
        }
        Ok(_) => Err(JobError::failed(
            format!("maas-region createadmin succeeded, but there is no user {}", admin.username),
            "check that database and regiond.conf name the same database",
        )),
        // Another run made it just now.
        Err(error) => match is_there(&session, &admin.username).await {
            Ok(true) => {
                report.noted(format!("the administrator {} is there", admin.username));
                Ok(report)
            }
            _ => Err(error.into()),
        },
    }
}

/// Whether the user is there, as an administrator.
async fn is_there(session: &Session, username: &str) -> Result<bool, JobError> {
    let sql = "SELECT is_superuser, is_active FROM auth_user WHERE username = $1";
    let row = session.row("look for the administrator", sql, &[&username]).await;
    let row = row.map_err(|error| {
        if schema::is_missing(&error) {
            return JobError::refused(
                "the database has no table of users yet",
                "run this after db-sync: maas-deployer job wait schema",
            );
        }
        error.into()
    })?;
    let Some(row) = row else { return Ok(false) };
    let (is_superuser, is_active): (bool, bool) =
        (row.try_get(0).unwrap_or(false), row.try_get(1).unwrap_or(false));
    let what = match (is_superuser, is_active) {
        (true, true) => return Ok(true),
        (true, false) => "is not active",
        (false, _) => "is no administrator",
    };
    Err(JobError::refused(
        format!("MAAS has a user {username}, who {what}"),
        "name another user in the admin Secret, or make this one an administrator in MAAS",
    ))
}

async fn address_is_free(session: &Session, email: &str) -> Result<(), JobError> {
    let sql = "SELECT username FROM auth_user WHERE lower(email) = lower($1)";
    let Some(row) = session.row("look for the e-mail address", sql, &[&email]).await? else {
        return Ok(());
    };
    let owner: String = row.try_get(0).unwrap_or_default();
    Err(JobError::refused(
        format!("MAAS has a user {owner} with the e-mail address {email} already"),
        "name that user, or another address, in the admin Secret",
    ))
}

/// MAAS checks none of this, and keeps what it is given.
fn check(admin: &Login, email: &str) -> Result<(), JobError> {
    let name = &admin.username;
    let good = |c: char| c.is_alphanumeric() || "@.+-_".contains(c);
    let hint = "correct the admin Secret";
    if name.chars().count() > 150 || name.starts_with('-') || !name.chars().all(good) {
        return Err(JobError::refused(
            format!(
                "'{name}' cannot be a user of MAAS: letters, digits and @ . + - _ only, 150 at most, no - at the start"
            ),
            hint,
        ));
    }
    let is_address = email
        .split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
    let strange = |c: char| c.is_whitespace() || "<>,;\"'\\()".contains(c);
    if !is_address || email.starts_with('-') || email.contains(strange) || email.len() > 254 {
        return Err(JobError::refused(format!("'{email}' is no e-mail address"), hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(username: &str, email: &str) -> bool {
        let login = Login { username: username.to_owned(), password: Secret::new("x") };
        check(&login, email).is_ok()
    }

    #[test]
    fn only_what_maas_can_work_with_is_a_user() {
        assert!(checked("admin", "admin@localhost"));
        assert!(checked("jörg.o+x@site-1_a", "j@example.org"));
        for name in ["-admin", "a b", "a;b", "a'b", "--username=x", &"a".repeat(151)] {
            assert!(!checked(name, "a@b"), "{name}");
        }
        for email in ["none", "@b", "a@", "a@b@c", "a b@c", "-a@b", "<a@b>"] {
            assert!(!checked("admin", email), "{email}");
        }
    }
}
