//! Boot sources, selections and resources.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::client::Client;
use super::error::MaasError;
use super::request::Request;

/// Where MAAS takes images from.
#[derive(Clone, Debug, Deserialize)]
pub struct BootSource {
    /// MAAS's id of it; the one made at the first start has 1.
    pub id: u64,
    /// Its URL.
    pub url: String,
    #[serde(default)]
    keyring_filename: Option<String>,
    #[serde(default)]
    keyring_data: Option<String>,
}

/// What a source's signatures are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keyring {
    /// A binary keyring, sent to MAAS.
    Data(Vec<u8>),
    /// A file that the region has.
    File(String),
}

impl BootSource {
    /// Whether its URL is this one, but for a slash at the end.
    #[must_use]
    pub fn has_url(&self, url: &str) -> bool {
        self.url.trim_end_matches('/') == url.trim_end_matches('/')
    }

    /// The file that is its keyring, where it names one.
    #[must_use]
    pub fn keyring_file(&self) -> Option<&str> {
        self.keyring_filename.as_deref().filter(|name| !name.is_empty())
    }

    /// Whether its keyring is this one.
    #[must_use]
    pub fn has_keyring(&self, keyring: &Keyring) -> bool {
        let data = self.keyring_data.as_deref().unwrap_or_default();
        let file = self.keyring_filename.as_deref().unwrap_or_default();
        match keyring {
            Keyring::File(wanted) => data.is_empty() && file == wanted,
            Keyring::Data(wanted) => {
                let held = data.split_whitespace().collect::<String>();
                STANDARD.decode(held).is_ok_and(|held| held == *wanted)
            }
        }
    }
}

/// What of a source MAAS imports.
#[derive(Clone, Debug, Deserialize)]
pub struct Selection {
    /// MAAS's id of it.
    pub id: u64,
    /// The operating system.
    pub os: String,
    /// The release.
    pub release: String,
    /// Architectures.
    #[serde(default)]
    pub arches: Vec<String>,
    /// Kernel flavours and the like.
    #[serde(default)]
    pub subarches: Vec<String>,
    /// Labels, such as `stable`.
    #[serde(default)]
    pub labels: Vec<String>,
}

/// A selection that is to be: everything of a release for some architectures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedSelection {
    /// The operating system.
    pub os: String,
    /// The release.
    pub release: String,
    /// Architectures.
    pub arches: Vec<String>,
}

impl WantedSelection {
    /// Whether `selection` is of the same release.
    #[must_use]
    pub fn is_release_of(&self, selection: &Selection) -> bool {
        self.os == selection.os && self.release == selection.release
    }

    /// Whether `selection` is this one.
    #[must_use]
    pub fn is(&self, selection: &Selection) -> bool {
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort();
            names.dedup();
            names
        };
        self.is_release_of(selection)
            && sorted(&self.arches) == sorted(&selection.arches)
            && selection.subarches == ["*"]
            && selection.labels == ["*"]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("os", self.os.clone()), ("release", self.release.clone())];
        // Repeated: MAAS takes no lists with commas.
        fields.extend(self.arches.iter().map(|arch| ("arches", arch.clone())));
        fields.extend([("subarches", "*".to_owned()), ("labels", "*".to_owned())]);
        fields
    }
}

/// An image of one release, architecture and kernel.
#[derive(Clone, Debug, Deserialize)]
pub struct BootResource {
    /// MAAS's id of it.
    pub id: u64,
    /// `ubuntu/noble`.
    #[serde(default)]
    pub name: String,
    /// `amd64/ga-24.04`.
    #[serde(default)]
    pub architecture: String,
    /// Its versions; empty in listings.
    #[serde(default)]
    pub sets: BTreeMap<String, BootSet>,
}

/// A version of an image.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct BootSet {
    /// Whether all of it is there.
    #[serde(default)]
    pub complete: bool,
    /// How much of it is there, in percent.
    #[serde(default)]
    progress: Value,
    /// Bytes in all.
    #[serde(default)]
    pub size: u64,
    /// Its files, by their names.
    #[serde(default)]
    pub files: BTreeMap<String, BootFile>,
}

/// A file of an image.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct BootFile {
    /// Bytes in all.
    #[serde(default)]
    pub size: u64,
    /// Whether all of it is there.
    #[serde(default)]
    pub complete: bool,
    #[serde(default)]
    progress: Value,
}

impl BootSet {
    /// Bytes that are there.
    #[must_use]
    pub fn held(&self) -> u64 {
        if self.complete {
            return self.size;
        }
        let of_files: u64 = self.files.values().map(BootFile::held).sum();
        of_files.max(part(self.size, &self.progress)).min(self.size)
    }
}

impl BootFile {
    /// Bytes that are there.
    #[must_use]
    pub fn held(&self) -> u64 {
        if self.complete { self.size } else { part(self.size, &self.progress) }
    }
}

/// `progress` percent of `size`; MAAS has written it as number and as text.
fn part(size: u64, progress: &Value) -> u64 {
    let percent = match progress {
        Value::Number(number) => number.as_f64().unwrap_or(0.0),
        Value::String(text) => text.trim_end_matches('%').parse().unwrap_or(0.0),
        _ => 0.0,
    };
    // In hundredths of a percent, so that no float stands for bytes.
    let hundredths = (0..=10_000u64).rev().find(|&n| percent_of(n) <= percent).unwrap_or(0);
    u64::try_from(u128::from(size) * u128::from(hundredths) / 10_000).unwrap_or(size)
}

fn percent_of(hundredths: u64) -> f64 {
    u32::try_from(hundredths).map_or(0.0, f64::from) / 100.0
}

impl Client {
    /// All sources.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn boot_sources(&self) -> Result<Vec<BootSource>, MaasError> {
        self.json(Request::get("boot-sources/")).await
    }

    /// Makes a source; or finds it made, where MAAS's answer was lost.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn create_boot_source(
        &self,
        url: &str,
        keyring: &Keyring,
    ) -> Result<BootSource, MaasError> {
        let request = source_request(Request::post("boot-sources/"), url, keyring);
        self.make(&request, async || {
            let sources = self.boot_sources().await?;
            Ok(sources.into_iter().find(|one| one.has_url(url) && one.has_keyring(keyring)))
        })
        .await
    }

    /// Writes a source again, as it is, so that MAAS reads its index anew. The
    /// keyring goes along every time: without it MAAS fails with 500.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn refresh_boot_source(
        &self,
        id: u64,
        url: &str,
        keyring: &Keyring,
    ) -> Result<(), MaasError> {
        let request = Request::new(Method::PUT, format!("boot-sources/{id}/"));
        self.text(source_request(request, url, keyring)).await.map(drop)
    }

    /// Removes a source and its selections.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn delete_boot_source(&self, id: u64) -> Result<(), MaasError> {
        self.delete(format!("boot-sources/{id}/")).await
    }

    /// What MAAS imports of a source.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn selections(&self, source: u64) -> Result<Vec<Selection>, MaasError> {
        self.json(Request::get(format!("boot-sources/{source}/selections/"))).await
    }

    /// Adds a selection; or finds it added, where MAAS's answer was lost. MAAS
    /// refuses it (400) until it has read the index.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn create_selection(
        &self,
        source: u64,
        wanted: &WantedSelection,
    ) -> Result<(), MaasError> {
        let path = format!("boot-sources/{source}/selections/");
        let request = Request::post(path).form(wanted.fields());
        self.make(&request, async || {
            let held = self.selections(source).await?;
            Ok(held.into_iter().find(|held| wanted.is(held)))
        })
        .await
        .map(|_: Selection| ())
    }

    /// Makes a selection into another.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn update_selection(
        &self,
        source: u64,
        id: u64,
        wanted: &WantedSelection,
    ) -> Result<(), MaasError> {
        let path = format!("boot-sources/{source}/selections/{id}/");
        self.text(Request::new(Method::PUT, path).form(wanted.fields())).await.map(drop)
    }

    /// Removes a selection. MAAS refuses it (400) for the release that machines
    /// are commissioned with.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn delete_selection(&self, source: u64, id: u64) -> Result<(), MaasError> {
        self.delete(format!("boot-sources/{source}/selections/{id}/")).await
    }

    /// The images that MAAS takes from its sources, without their versions.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn boot_resources(&self) -> Result<Vec<BootResource>, MaasError> {
        self.json(Request::get("boot-resources/").query("type", "synced")).await
    }

    /// An image with its versions.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn boot_resource(&self, id: u64) -> Result<BootResource, MaasError> {
        self.json(Request::get(format!("boot-resources/{id}/"))).await
    }

    /// Asks for an import. The answer says nothing of what becomes of it.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn import_images(&self) -> Result<(), MaasError> {
        let request = Request::post("boot-resources/").op("import").repeatable();
        self.text(request).await.map(drop)
    }

    /// Whether an import is under way.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn is_importing(&self) -> Result<bool, MaasError> {
        self.json(Request::get("boot-resources/").op("is_importing")).await
    }

    /// Removes something. That it is gone already is no error.
    async fn delete(&self, path: String) -> Result<(), MaasError> {
        match self.text(Request::new(Method::DELETE, path)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn source_request(request: Request, url: &str, keyring: &Keyring) -> Request {
    let mut fields = vec![("url", url.to_owned())];
    match keyring {
        Keyring::Data(data) => request.with_file(fields, "keyring_data", data.clone()),
        Keyring::File(name) => {
            fields.push(("keyring_filename", name.clone()));
            request.form(fields)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(json: Value) -> BootSource {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_equal_source_is_known_again() {
        let data = Keyring::Data(b"\x99key".to_vec());
        let held = source(json!({"id": 2, "url": "http://m/images/", "keyring_filename": "",
            "keyring_data": STANDARD.encode(b"\x99key")}));
        assert!(held.has_url("http://m/images") && held.has_keyring(&data));
        assert!(!held.has_keyring(&Keyring::File(String::new())));
        let file = source(json!({"id": 1, "url": "http://m/", "keyring_filename": "/k.gpg",
            "keyring_data": ""}));
        assert!(file.has_keyring(&Keyring::File("/k.gpg".into())) && !file.has_keyring(&data));
    }

    #[test]
    fn an_equal_selection_is_known_again() {
        let wanted = WantedSelection {
            os: "ubuntu".into(),
            release: "noble".into(),
            arches: vec!["arm64".into(), "amd64".into()],
        };
        let mut held: Selection = serde_json::from_value(json!({"id": 1, "os": "ubuntu",
            "release": "noble", "arches": ["amd64", "arm64"], "subarches": ["*"], "labels": ["*"]}))
        .unwrap();
        assert!(wanted.is(&held));
        held.labels = vec!["stable".into()];
        assert!(!wanted.is(&held) && wanted.is_release_of(&held));
    }

    #[test]
    fn progress_is_read_in_every_form() {
        assert_eq!(part(1000, &json!(50)), 500);
        assert_eq!(part(1000, &json!(12.5)), 125);
        assert_eq!(part(1000, &json!("99.9")), 999);
        assert_eq!(part(1000, &json!(null)), 0);
        assert_eq!(part(1000, &json!(250)), 1000);
        assert_eq!(part(u64::MAX, &json!(100)), u64::MAX);
    }

    #[test]
    fn a_set_holds_what_its_files_hold() {
        let set: BootSet = serde_json::from_value(json!({"complete": false, "size": 100,
            "progress": 0, "files": {"squashfs": {"size": 60, "complete": true},
            "kernel": {"size": 40, "complete": false, "progress": 50.0}}}))
        .unwrap();
        assert_eq!(set.held(), 80);
    }
}
