//! Logins from the files that skopeo, podman and docker keep.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::secrets::RegistryAuth;

/// How long a credential helper may take: some ask a person.
const PATIENCE: Duration = Duration::from_secs(60);

/// A login, and the file that it came from. Prints without secrets.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) auth: RegistryAuth,
    pub(super) file: PathBuf,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Why the files with logins cannot be used. What a credential helper printed
/// is not repeated: it may hold the secret.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what `docker login` writes.
    #[error("{} is not a file of logins", .0.display())]
    Format(PathBuf),
    /// The program that keeps the login failed.
    #[error("the credential helper that {} names gave no login", .0.display())]
    Helper(PathBuf),
    /// The program that keeps the login did not end.
    #[error("the credential helper gave no answer within {} seconds", .0.as_secs())]
    Slow(Duration),
    /// An OAuth2 refresh token, which only docker's own login makes use of.
    #[error("{} holds an identity token, which is not supported", .0.display())]
    IdentityToken(PathBuf),
}

/// Looks for a login for `registry`: in `$REGISTRY_AUTH_FILE` alone where that
/// is set, else in `$XDG_RUNTIME_DIR/containers/auth.json`,
/// `$XDG_CONFIG_HOME/containers/auth.json` and `$DOCKER_CONFIG/config.json`
/// (containers-auth.json(5)). The first file that has one counts.
pub(super) async fn find(registry: &str) -> Result<Option<Login>, CredentialError> {
    let registry = registry.to_owned();
    let search = tokio::task::spawn_blocking(move || search(&registry, &files()));
    match tokio::time::timeout(PATIENCE, search).await {
        Ok(Ok(found)) => found,
        // A thread that stopped, or one that waits for a helper still.
        Ok(Err(_)) | Err(_) => Err(CredentialError::Slow(PATIENCE)),
    }
}

fn files() -> Vec<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(file) = folder("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = |below: &str| folder("HOME").map(|home| home.join(below));
    let containers = [folder("XDG_RUNTIME_DIR"), folder("XDG_CONFIG_HOME").or(home(".config"))];
    let docker = folder("DOCKER_CONFIG").or(home(".docker"));
    let containers = containers.into_iter().flatten().map(|dir| dir.join("containers/auth.json"));
    containers.chain(docker.map(|dir| dir.join("config.json"))).collect()
}

fn search(registry: &str, files: &[PathBuf]) -> Result<Option<Login>, CredentialError> {
    for path in files {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(CredentialError::Read { path: path.clone(), source }),
        };
        let found = docker_credential::get_credential_from_reader(BufReader::new(file), registry);
        let auth = match found {
            Ok(DockerCredential::UsernamePassword(name, password)) => {
                RegistryAuth::Basic(name, password)
            }
            Ok(DockerCredential::IdentityToken(_)) => {
                return Err(CredentialError::IdentityToken(path.clone()));
            }
            Err(CredentialRetrievalError::NoCredentialConfigured) => continue,
            Err(
                CredentialRetrievalError::HelperCommunicationError
                | CredentialRetrievalError::MalformedHelperResponse
                | CredentialRetrievalError::HelperFailure { .. },
            ) => return Err(CredentialError::Helper(path.clone())),
            Err(_) => return Err(CredentialError::Format(path.clone())),
        };
        return Ok(Some(Login { auth, file: path.clone() }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("auth.json");
        std::fs::write(&path, text).expect("write");
        (folder, path)
    }

    #[test]
    fn the_first_file_with_a_login_counts() {
        let (_one, missing) = written("{}");
        let (_two, path) = written(r#"{"auths":{"r:5000":{"auth":"bWU6c2VjcmV0"}}}"#);
        let files = [PathBuf::from("/nonexistent/auth.json"), missing, path.clone()];
        let login = search("r:5000", &files).expect("found").expect("a login");
        assert_eq!(login.auth, RegistryAuth::Basic("me".into(), "secret".into()));
        assert_eq!(login.file, path);
        assert!(!format!("{login:?}").contains("secret"));
        assert!(search("other:5000", &files).expect("looked").is_none());
    }

    #[test]
    fn what_is_no_login_is_an_error_without_secrets() {
        for text in [
            "secret",
            r#"{"auths":{"r":{"auth":"secret"}}}"#,
            r#"{"auths":{"r":{"identitytoken":"secret"}}}"#,
            r#"{"credHelpers":{"r":"nothing-of-that-name"}}"#,
        ] {
            let (_folder, path) = written(text);
            let error = search("r", &[path]).expect_err(text);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
