//! MAAS's own settings, from where the chart and the operator put them. Any of them may be a
//! password, or hold one, as a proxy's URL: so they come as files, of Secrets.

use std::collections::BTreeMap;
use std::path::Path;

use super::configure::AFTER_IMPORT;
use super::context::Context;
use super::error::JobError;
use super::files;
use super::report::Report;
use crate::settings::ConfigValue;

/// What the chart makes of its values: a JSON object.
const CHARTS: &str = "secrets/maas-settings/config.json";

/// The operator's own Secret: a file for each setting.
const OWN: &str = "secrets/own-settings";

/// Settings of MAAS, by their names.
pub(super) type Config = BTreeMap<String, ConfigValue>;

/// All settings that are given; `None` where nobody gives any. The operator's own Secret wins
/// over the values, which is told.
pub(super) fn read(context: &Context, report: &mut Report) -> Result<Option<Config>, JobError> {
    let charts = charts(&context.mounts.path(CHARTS))?;
    let own = own(&context.mounts.path(OWN))?;
    let told = context.settings.config().ok().cloned();
    if told.is_none() && charts.is_none() && own.is_none() {
        return Ok(None);
    }
    let mut all: Config = told.into_iter().chain(charts).flatten().collect();
    for (name, value) in own.into_iter().flatten() {
        let text = value.text();
        if all.insert(name.clone(), value).is_some_and(|other| other.text() != text) {
            report.noted(format!(
                "{name} is as the Secret of secrets.maas_settings says, not the values"
            ));
        }
    }
    Ok(Some(all))
}

fn charts(path: &Path) -> Result<Option<Config>, JobError> {
    let Some(content) = files::read(path)? else { return Ok(None) };
    let config = serde_json::from_slice(&content).map_err(|error| {
        JobError::Settings(format!("cannot understand {}: {error}", path.display()))
    })?;
    Ok(Some(config))
}

fn own(folder: &Path) -> Result<Option<Config>, JobError> {
    let fail = |source| JobError::File { doing: "read", path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let mut own = Config::new();
    for entry in entries {
        let path = entry.map_err(fail)?.path();
        // The kubelet's own links beside the files begin with a dot.
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.is_empty() || name.starts_with('.') {
            continue;
        }
        own.insert(name.to_owned(), ConfigValue::Text(text(&path)?));
    }
    let late: Vec<&str> = AFTER_IMPORT.into_iter().filter(|name| own.contains_key(*name)).collect();
    if late.is_empty() {
        return Ok(Some(own));
    }
    Err(JobError::refused(
        format!("the Secret of secrets.maas_settings has {}", late.join(", ")),
        "set conf.maas.images in the chart's values instead: import-images sets these, once the images are there",
    ))
}

/// One line break at the end is not part of it: editors and `echo` add one.
fn text(path: &Path) -> Result<String, JobError> {
    let content = files::read(path)?.unwrap_or_default();
    let text = String::from_utf8(content)
        .map_err(|_| JobError::Settings(format!("{} is not UTF-8 text", path.display())))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
