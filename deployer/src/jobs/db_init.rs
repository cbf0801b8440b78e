//! `db-init`: MAAS's role and database.

use tokio_postgres::error::SqlState;

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use crate::database::{ConnectProblem, Session, literal, quoted};
use crate::secret::Login;

/// The oldest server that MAAS takes.
const OLDEST: i32 = 140_000;

/// The database that is always there.
const MAINTENANCE: &str = "postgres";

/// Makes MAAS's role and database and gives the one to the other.
///
/// # Errors
/// [`JobError`]; [`JobError::OldServer`] where PostgreSQL is older than 14.
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let work = Init {
        name: context.settings.database()?.name.clone(),
        admin: context.mounts.database_admin()?,
        user: context.mounts.database_user()?,
    };
    work.run(context).await
}

struct Init {
    name: String,
    admin: Login,
    user: Login,
}

impl Init {
    async fn run(&self, context: &Context) -> Result<Report, JobError> {
        let mut report = Report::default();
        let (role, database) =
            (quoted("role", &self.user.username)?, quoted("database", &self.name)?);
        let server = context.server()?;
        let session = server.connect(&self.admin, MAINTENANCE).await?;
        check_server(&session).await?;
        self.role(context, &session, &role, &mut report).await?;
        self.database(&session, &role, &database, &mut report).await?;
        self.privileges(&session, &role, &database, &mut report).await?;
        let inside = server.connect(&self.admin, &self.name).await?;
        self.public(&inside, &role, &mut report).await?;
        // What counts: MAAS's user gets in with its password.
        server.connect(&self.user, &self.name).await?;
        if !report.is_changed() {
            let (user, name) = (&self.user.username, &self.name);
            report.noted(format!("role {user} and database {name} are as they should be"));
        }
        Ok(report)
    }

    async fn role(
        &self,
        context: &Context,
        session: &Session,
        role: &str,
        report: &mut Report,
    ) -> Result<(), JobError> {
        let name = &self.user.username;
        if self.user.username == self.admin.username {
            if self.user.password != self.admin.password {
                return Err(JobError::refused(
                    format!(
                        "the administrator and MAAS's user of the database are both '{name}', with different passwords"
                    ),
                    "give MAAS a user of its own, or the same password in both Secrets",
                ));
            }
            return Ok(());
        }
        // A verifier, not the password: statements stand in the server's log.
        let verifier =
            postgres_protocol::password::scram_sha_256(self.user.password.expose().as_bytes());
        let password = literal(&verifier);
        let sql = "SELECT rolcanlogin FROM pg_roles WHERE rolname = $1";
        let found = session.row("look for the role", sql, &[name]).await?;
        let Some(row) = found else {
            let doing = format!("make the role '{name}'");
            let sql = format!("CREATE ROLE {role} LOGIN PASSWORD {password}");
            match session.execute(&doing, &sql).await {
                // Another run made it just now.
                Err(error) if error.code() == Some(&SqlState::DUPLICATE_OBJECT) => {}
                other => other?,
            }
            report.changed(format!("made the role {name}"));
            return Ok(());
        };
        let can_log_in: bool = row.try_get(0).unwrap_or(false);
        if can_log_in && self.password_holds(context).await? {
            return Ok(());
        }
        let doing = format!("set the password of the role '{name}'");
        session.execute(&doing, &format!("ALTER ROLE {role} LOGIN PASSWORD {password}")).await?;
        report.changed(format!("set the password of the role {name}"));
        Ok(())
    }

    /// Whether the user gets past the password, to whichever database.
    async fn password_holds(&self, context: &Context) -> Result<bool, JobError> {
        match context.server()?.connect(&self.user, &self.name).await {
            Ok(_) => Ok(true),
            Err(error) => match error.connect_problem() {
                // Found out after the password was accepted.
                Some(ConnectProblem::NoDatabase) => Ok(true),
                Some(ConnectProblem::Password) => Ok(false),
                // Such as a user without the right to connect, granted below.
                Some(ConnectProblem::Rules(_) | ConnectProblem::Other(_)) => Ok(true),
                _ => Err(error.into()),
            },
        }
    }

    async fn database(
        &self,
        session: &Session,
        role: &str,
        database: &str,
        report: &mut Report,
    ) -> Result<(), JobError> {
        let name = &self.name;
        let sql = "SELECT pg_encoding_to_char(encoding), pg_get_userbyid(datdba) \
            FROM pg_database WHERE datname = $1";
        let Some(row) = session.row("look for the database", sql, &[name]).await? else {
            self.join_role(session, role).await?;
            let doing = format!("make the database '{name}'");
            let sql = format!(
                "CREATE DATABASE {database} OWNER {role} ENCODING 'UTF8' TEMPLATE template0"
            );
            match session.execute(&doing, &sql).await {
                Err(error) if error.code() == Some(&SqlState::DUPLICATE_DATABASE) => {}
                other => other?,
            }
            report.changed(format!("made the database {name}"));
            return Ok(());
        };
        let (encoding, owner): (String, String) =
            (row.try_get(0).unwrap_or_default(), row.try_get(1).unwrap_or_default());
        if encoding != "UTF8" {
            return Err(JobError::refused(
                format!("the database {name} has the encoding {encoding}; MAAS needs UTF8"),
                "make it anew with ENCODING 'UTF8', or name another in endpoints.maas_db",
            ));
        }
        if owner != self.user.username {
            self.join_role(session, role).await?;
            let doing = format!("give the database '{name}' to its user");
            session.execute(&doing, &format!("ALTER DATABASE {database} OWNER TO {role}")).await?;
            report.changed(format!("gave the database {name} to {}", self.user.username));
        }
        Ok(())
    }

    /// An administrator who is no superuser, as clouds have, may give away only to roles that it
    /// may become. Until PostgreSQL 15 every member may; since 16 who makes a role is a member of
    /// it at once, but may not become it.
    async fn join_role(&self, session: &Session, role: &str) -> Result<(), JobError> {
        let sql = "SELECT rolsuper OR pg_has_role(current_user, $1::text::name, \
            CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END) \
            FROM pg_roles WHERE rolname = current_user";
        let doing = "look at the administrator's rights";
        let user = &self.user.username;
        if !session.value::<bool>(doing, sql, &[user]).await? {
            let doing = "join the role of MAAS's user";
            session.execute(doing, &format!("GRANT {role} TO CURRENT_USER")).await?;
        }
        Ok(())
    }

    /// All for MAAS's user, nothing for everybody.
    async fn privileges(
        &self,
        session: &Session,
        role: &str,
        database: &str,
        report: &mut Report,
    ) -> Result<(), JobError> {
        let sql = "SELECT has_database_privilege($2::text::name, $1::text, 'CREATE, CONNECT, TEMPORARY') \
            AND has_database_privilege($2::text::name, $1::text, 'CREATE') \
            AND has_database_privilege($2::text::name, $1::text, 'CONNECT') \
            AND NOT EXISTS (SELECT FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) \
                WHERE datname = $1 AND grantee = 0)";
        let right = session
            .value::<bool>(
                "look at the rights on the database",
                sql,
                &[&self.name, &self.user.username],
            )
            .await?;
        if !right {
            let sql = format!(
                "GRANT ALL ON DATABASE {database} TO {role}; \
                 REVOKE ALL ON DATABASE {database} FROM PUBLIC"
            );
            session.execute("grant the rights on the database", &sql).await?;
            report.changed(format!("granted the rights on the database {}", self.name));
        }
        Ok(())
    }

    /// Since PostgreSQL 15 not everybody may make tables in `public`.
    async fn public(
        &self,
        session: &Session,
        role: &str,
        report: &mut Report,
    ) -> Result<(), JobError> {
        let sql = "SELECT coalesce(bool_and(has_schema_privilege($1::text::name, oid, 'USAGE') \
            AND has_schema_privilege($1::text::name, oid, 'CREATE')), false) \
            FROM pg_namespace WHERE nspname = 'public'";
        let doing = "look at the rights on the schema 'public'";
        let user = &self.user.username;
        if !session.value::<bool>(doing, sql, &[user]).await? {
            let sql = format!(
                "CREATE SCHEMA IF NOT EXISTS public; GRANT USAGE, CREATE ON SCHEMA public TO {role}"
            );
            session.execute("grant the rights on the schema 'public'", &sql).await?;
            report.changed("granted the rights on the schema public");
        }
        Ok(())
    }
}

/// Refuses a server that is older than what MAAS takes.
pub(super) async fn check_server(session: &Session) -> Result<(), JobError> {
    let number = "SELECT current_setting('server_version_num')::int";
    let number: i32 = session.value("read the server's version", number, &[]).await?;
    if number >= OLDEST {
        return Ok(());
    }
    // As the server writes it: 13.5 is 130005.
    Err(JobError::OldServer { found: format!("{}.{}", number / 10_000, number % 10_000) })
}
