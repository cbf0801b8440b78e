//! `create-admin`: MAAS's first administrator.

use std::time::Duration;

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::{region_image, schema};
use crate::database::Session;
use crate::region_command::{CommandError, Run};
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
    if look(&session, &admin.username).await? == Found::Administrator {
        report.noted(format!("the administrator {} is there", admin.username));
        return Ok(report);
    }
    address_is_free(&session, &email).await?;
    region_image::configure(context)?;
    match create(context, &admin, &email).await {
        Ok(()) => report.changed(format!("made the administrator {}", admin.username)),
        // Another run made it just now.
        Err(CommandError::Failed { tail, .. }) if tail.contains("AlreadyExistingUser") => {
            report.noted(format!("the user {} is there", admin.username));
        }
        Err(error) => return Err(error.into()),
    }
    match look(&session, &admin.username).await? {
        Found::Administrator | Found::Unknown => Ok(report),
        Found::Nobody => Err(JobError::failed(
            format!("maas-region createadmin ended well, but there is no user {}", admin.username),
            "check that database and regiond.conf name the same database",
        )),
    }
}

async fn create(context: &Context, admin: &Login, email: &str) -> Result<(), CommandError> {
    let password = admin.password.expose();
    // Asked twice. Without --ssh-import it would ask once more.
    let stdin = Secret::new(format!("{password}\n{password}\n"));
    let args = ["createadmin", "--username", &admin.username, "--email", email, "--ssh-import="];
    let mut run = Run::maas_region(LIMIT).args(args).stdin(stdin).mask(&admin.password);
    if let Ok(user) = context.mounts.database_user() {
        run = run.mask(&user.password);
    }
    run.run().await.map(drop)
}

/// What the database says of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Administrator,
    Nobody,
    /// There is no table of users: a schema that is not there yet, or not known.
    Unknown,
}

async fn look(session: &Session, username: &str) -> Result<Found, JobError> {
    let sql = "SELECT is_superuser, is_active FROM auth_user WHERE username = $1";
    let row = match session.row("look for the administrator", sql, &[&username]).await {
        Ok(Some(row)) => row,
        Ok(None) => return Ok(Found::Nobody),
        Err(error) if schema::is_missing(&error) => return Ok(Found::Unknown),
        Err(error) => return Err(error.into()),
    };
    let (is_superuser, is_active): (bool, bool) =
        (row.try_get(0).unwrap_or(false), row.try_get(1).unwrap_or(false));
    let what = match (is_superuser, is_active) {
        (true, true) => return Ok(Found::Administrator),
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
    let row = match session.row("look for the e-mail address", sql, &[&email]).await {
        Ok(Some(row)) => row,
        Ok(None) => return Ok(()),
        Err(error) if schema::is_missing(&error) => return Ok(()),
        Err(error) => return Err(error.into()),
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
