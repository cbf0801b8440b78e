//! `maas-deployer history`.

use serde_json::{Value, json};

use super::super::failure::{Exit, Failure};
use super::super::output::Output;
use super::by;
use crate::apply::ApplyError;
use crate::cluster::Cluster;
use crate::release::{Release, Store};

pub(super) async fn run(
    name: &str,
    cluster: &Cluster,
    namespace: &str,
    doing: &str,
    output: &Output,
) -> Result<Exit, Failure> {
    let store = Store::new(cluster.clone(), namespace, name, by());
    let fail = |error: ApplyError| Failure::apply(doing, &error);
    let keys = store.keys().await.map_err(|error| fail(error.into()))?;
    if keys.is_empty() {
        let (name, namespace) = (name.to_owned(), namespace.to_owned());
        return Err(fail(ApplyError::Absent { name, namespace }));
    }
    let mut rows = Vec::new();
    let mut list = Vec::new();
    for key in keys {
        // One at a time: each holds a whole chart.
        let stored = store.get(key.revision).await.map_err(|error| fail(error.into()))?;
        if let Some(stored) = stored {
            rows.push(row(&stored.release));
            list.push(described(&stored.release, stored.by.as_deref()));
        }
    }
    output.json(&json!({"schema": "maas-deployer/history/1", "release": name,
        "namespace": namespace, "revisions": list}));
    for line in table(&rows) {
        output.confirm(&line);
    }
    Ok(Exit::Done)
}

const HEAD: [&str; 6] = ["REVISION", "UPDATED", "STATUS", "CHART", "APP VERSION", "DESCRIPTION"];

fn row(release: &Release) -> [String; 6] {
    let when = release.info.last_deployed.time();
    let when = when.and_then(|time| jiff::Timestamp::from_second(time.as_second()).ok());
    [
        release.version.to_string(),
        when.map(|time| time.to_string()).unwrap_or_default(),
        release.info.status.text().to_owned(),
        release.chart_name(),
        release.app_version().to_owned(),
        release.info.description.clone(),
    ]
}

fn described(release: &Release, by: Option<&str>) -> Value {
    json!({
        "revision": release.version,
        "updated": release.info.last_deployed.text(),
        "status": release.info.status.text(),
        "chart": release.chart_name(),
        "app_version": release.app_version(),
        "description": release.info.description,
        "by": by,
    })
}

/// Columns as wide as what is in them.
fn table(rows: &[[String; 6]]) -> Vec<String> {
    let head = HEAD.map(str::to_owned);
    let all = || std::iter::once(&head).chain(rows);
    let width = |column: usize| {
        let lengths = all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    all()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_in_line() {
        let row =
            ["1", "2026-01-02T03:04:05Z", "deployed", "maas-0.3.0", "3.6.4", "Install complete"];
        let lines = table(&[row.map(str::to_owned)]);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].find("STATUS"), lines[1].find("deployed"));
        assert!(lines[1].ends_with("Install complete"));
    }
}
