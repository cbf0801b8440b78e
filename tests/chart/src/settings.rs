//! What the chart tells the deployer: JSON in `MAAS_DEPLOYER_SETTINGS`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::{Objects, Pod};

/// One container's settings.
#[derive(Clone, Debug)]
pub struct Told {
    /// `KIND/NAME` of what it is in.
    pub owner: String,
    /// The component of that.
    pub component: String,
    /// The container.
    pub container: String,
    /// The settings, as they stand in its environment.
    pub text: String,
}

impl Told {
    /// The settings, read.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| {
            panic!("{} {}: {error}: {}", self.owner, self.container, self.text)
        })
    }
}

/// The settings of MAAS that job configure reads: of a Secret, as they may hold a login.
#[must_use]
pub fn config(objects: &Objects) -> Value {
    let secret = objects.one("Secret", "maas-settings");
    let text = secret.at("/data/config.json").as_str().expect("config.json");
    let bytes = STANDARD.decode(text).expect("base64");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The settings of every container that has any.
#[must_use]
pub fn all(objects: &Objects) -> Vec<Told> {
    let mut told = Vec::new();
    for pod in objects.pods() {
        for container in pod.containers() {
            let Some(text) = Pod::env(container, "MAAS_DEPLOYER_SETTINGS") else { continue };
            told.push(Told {
                owner: pod.owner.id(),
                component: pod.owner.component().to_owned(),
                container: container["name"].as_str().unwrap().to_owned(),
                text: text.to_owned(),
            });
        }
    }
    told
}
