//! MAAS's settings.

use serde_json::Value;

use super::client::Client;
use super::error::MaasError;
use super::request::Request;

impl Client {
    /// The value of a setting.
    ///
    /// # Errors
    /// [`MaasError`]; a 400 that lists the settings where there is none of that
    /// name.
    pub async fn config(&self, name: &str) -> Result<Value, MaasError> {
        self.json(Request::get("maas/").op("get_config").query("name", name)).await
    }

    /// Sets a setting.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn set_config(&self, name: &str, value: &str) -> Result<(), MaasError> {
        let fields = vec![("name", name.to_owned()), ("value", value.to_owned())];
        let request = Request::post("maas/").op("set_config").form(fields).repeatable();
        self.text(request).await.map(drop)
    }
}
