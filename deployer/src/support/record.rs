//! The release record: revisions, values, manifest.

use serde_json::{Value, json};

use crate::apply::{documents, hidden};
use crate::release::{Hook, Release, Stored};
use crate::strike::Strike;
use crate::values::hide;
use crate::yaml::{Order, emit};

/// A revision, without what it holds.
pub(super) fn described(stored: &Stored) -> Value {
    let release = &stored.release;
    json!({
        "revision": release.version,
        "status": release.info.status.text(),
        "updated": release.info.last_deployed.text(),
        "chart": release.chart_name(),
        "app_version": release.app_version(),
        "description": release.info.description,
        "by": stored.by,
    })
}

/// The values that were given, secrets hidden by what the chart says that they are.
pub(super) fn values(release: &Release, strike: &Strike) -> String {
    let mut values = Value::Object(release.config.clone());
    hide(&mut values, &mut Vec::new());
    strike.value(&mut values);
    emit(&values, Order::Given)
}

/// The manifest, its Secrets without what they hold.
pub(super) fn manifest(release: &Release, strike: &Strike) -> Result<String, String> {
    masked(&release.manifest, "", strike)
}

/// The hooks, in the same way.
pub(super) fn hooks(release: &Release, strike: &Strike) -> Result<String, String> {
    let one = |hook: &Hook| {
        let run = &hook.last_run;
        let about = format!(
            "# {}, last run: {} {} to {}\n",
            hook.events.join(", "),
            if run.phase.is_empty() { "never" } else { &run.phase },
            run.started_at.text(),
            run.completed_at.text()
        );
        Ok(format!("{about}{}", masked(&hook.manifest, &hook.path, strike)?))
    };
    release.hooks.iter().map(one).collect()
}

fn masked(text: &str, source: &str, strike: &Strike) -> Result<String, String> {
    let documents = documents(text).map_err(|error| crate::chain(&error))?;
    let one = |document: &crate::manifest::Document| {
        let mut object = document.object.clone();
        hidden(&mut object, strike);
        strike.value(&mut object);
        let source = if document.source.is_empty() { source } else { &document.source };
        format!("---\n# Source: {source}\n{}", emit(&object, Order::Given))
    };
    Ok(documents.iter().map(one).collect())
}
