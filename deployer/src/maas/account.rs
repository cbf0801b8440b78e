//! Users and keys.

use serde::Deserialize;

use super::client::Client;
use super::error::{MaasError, Problem};
use super::key::ApiKey;
use super::request::Request;
use crate::secret::Login;

/// A user of MAAS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct User {
    /// The name.
    pub username: String,
    /// Whether an administrator.
    #[serde(default)]
    pub is_superuser: bool,
}

#[derive(Deserialize)]
struct Token {
    consumer_key: String,
    token_key: String,
    token_secret: String,
}

impl Client {
    /// Whose key this client has.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn whoami(&self) -> Result<User, MaasError> {
        self.json(Request::get("users/").op("whoami")).await
    }

    /// The user's oldest API key. The same every time.
    ///
    /// # Errors
    /// [`MaasError`]; [`Problem::Forbidden`] where MAAS does not accept the
    /// login.
    pub async fn authenticate(&self, login: &Login) -> Result<ApiKey, MaasError> {
        let request = Request::post("accounts/authenticate/").repeatable().form(vec![
            ("username", login.username.clone()),
            ("password", login.password.expose().to_owned()),
        ]);
        let url = request.url(self.base());
        let method = request.method.clone();
        let text = self.outside_api(request).await?;
        // The answer is the key: no error may repeat it.
        let nonsense = |what: &str| MaasError {
            method: method.clone(),
            url: url.to_string(),
            problem: Problem::Nonsense(what.to_owned()),
        };
        let token: Token =
            serde_json::from_str(&text).map_err(|_| nonsense("it is no API key in JSON"))?;
        format!("{}:{}:{}", token.consumer_key, token.token_key, token.token_secret)
            .parse()
            .map_err(|_| nonsense("the API key in it has characters that no key has"))
    }
}
