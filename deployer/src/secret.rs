//! Text that never shows itself, and the files it comes from.
//!
//! Secrets reach a job as files only, mounted from Secrets of the cluster. They
//! are read here and nowhere else, and no `Debug`, `Display` or `Serialize` of
//! them exists that would print them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rand::RngExt as _;

/// A secret. Shows itself as `…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A new password: 32 letters and digits, 190 bits.
    #[must_use]
    pub fn password() -> Self {
        let mut random = rand::rng();
        let letters = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
        let pick = |_| {
            let at = random.random_range(0..letters.len());
            letters.get(at).copied().map_or('x', char::from)
        };
        Self((0..32).map(pick).collect())
    }

    /// A new shared secret of regions and racks: 32 hexadecimal digits, the
    /// form in which MAAS makes its own.
    #[must_use]
    pub fn shared() -> Self {
        let bytes: [u8; 16] = rand::rng().random();
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// `text` with this secret struck out wherever it stands.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, "…") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("…")
    }
}

/// Why a secret's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file is not there, or may not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is empty.
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
    /// The file is not text.
    #[error("{} is not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// The text has a character that no place takes which it is for.
    #[error("{} holds a control character or a line break", .0.display())]
    Control(PathBuf),
}

impl SecretError {
    /// Whether there is no such file.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// A user's name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// The folder that secrets are mounted below: `/etc/maas-deployer`, or, for
/// tests, what `MAAS_DEPLOYER_ETC` names.
#[derive(Clone, Debug)]
pub struct Mounts {
    root: PathBuf,
}

impl Mounts {
    /// Secrets below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where the chart mounts them.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::new(
            std::env::var_os("MAAS_DEPLOYER_ETC").unwrap_or_else(|| "/etc/maas-deployer".into()),
        )
    }

    /// A path below the folder.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// The database's administrator.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn database_admin(&self) -> Result<Login, SecretError> {
        self.login("secrets/db-admin", "DATABASE_USERNAME", "DATABASE_PASSWORD")
    }

    /// MAAS's own user of the database.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn database_user(&self) -> Result<Login, SecretError> {
        self.login("secrets/db-user", "DATABASE_USERNAME", "DATABASE_PASSWORD")
    }

    /// MAAS's own user of the database as its Secret has it before an upgrade, where that brings
    /// another login (which [`Self::database_user`] then is); `None` where there is no such file.
    ///
    /// # Errors
    /// [`SecretError`] where it is there and cannot be used.
    pub fn present_database_user(&self) -> Result<Option<Login>, SecretError> {
        let folder = "secrets/db-user-present";
        match self.login(folder, "DATABASE_USERNAME", "DATABASE_PASSWORD") {
            Ok(login) => Ok(Some(login)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// MAAS's administrator.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn admin(&self) -> Result<Login, SecretError> {
        self.login("secrets/admin", "USERNAME", "PASSWORD")
    }

    /// The e-mail address of MAAS's administrator.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn admin_email(&self) -> Result<String, SecretError> {
        Ok(self.text("secrets/admin/EMAIL")?.0)
    }

    /// The secret that regions and racks share.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn shared_secret(&self) -> Result<Secret, SecretError> {
        self.text("secrets/region/REGION_SECRET")
    }

    /// MAAS's API key, where its Secret is there already.
    ///
    /// # Errors
    /// [`SecretError`] where it is there and cannot be used.
    pub fn api_key(&self) -> Result<Option<Secret>, SecretError> {
        match self.text("secrets/api-key/token") {
            Ok(key) => Ok(Some(key)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn login(&self, folder: &str, username: &str, password: &str) -> Result<Login, SecretError> {
        Ok(Login {
            username: self.text(&format!("{folder}/{username}"))?.0,
            password: self.text(&format!("{folder}/{password}"))?,
        })
    }

    fn text(&self, below: &str) -> Result<Secret, SecretError> {
        read_text(&self.path(below))
    }
}

/// Reads one secret. A single line break at the end is not part of it: editors
/// and `echo` add one.
fn read_text(path: &Path) -> Result<Secret, SecretError> {
    let bytes = std::fs::read(path)
        .map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|_| SecretError::NotText(path.to_owned()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(SecretError::Empty(path.to_owned()));
    }
    if text.chars().any(char::is_control) {
        return Err(SecretError::Control(path.to_owned()));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(content: &[u8]) -> Result<Secret, SecretError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, content).unwrap();
        read_text(&path)
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let login = Login { username: "maas".into(), password: Secret::new("hunter2") };
        let shown = format!("{login:?} {:#?}", login.password);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(login.password.mask("password hunter2!"), "password …!");
    }

    #[test]
    fn one_line_break_at_the_end_is_no_part_of_it() {
        assert_eq!(written(b"a b\n").unwrap().expose(), "a b");
        assert_eq!(written(b"a b\r\n").unwrap().expose(), "a b");
        assert_eq!(written("pä;ss'\"".as_bytes()).unwrap().expose(), "pä;ss'\"");
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused() {
        assert!(matches!(written(b""), Err(SecretError::Empty(_))));
        assert!(matches!(written(b"\n"), Err(SecretError::Empty(_))));
        assert!(matches!(written(b"a\nb"), Err(SecretError::Control(_))));
        assert!(matches!(written(b"a\0b"), Err(SecretError::Control(_))));
        assert!(matches!(written(b"\xff\xfe"), Err(SecretError::NotText(_))));
    }

    #[test]
    fn generated_secrets_have_the_form_that_is_asked_for() {
        let shared = Secret::shared();
        assert_eq!(shared.expose().len(), 32);
        assert!(shared.expose().bytes().all(|byte| byte.is_ascii_hexdigit()));
        let password = Secret::password();
        assert_eq!(password.expose().len(), 32);
        assert!(password.expose().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(Secret::password(), password);
    }

    #[test]
    fn a_key_that_is_not_there_yet_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Mounts::new(folder.path()).api_key().unwrap(), None);
    }
}
