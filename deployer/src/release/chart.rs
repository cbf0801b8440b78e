//! The chart, as Helm records it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::chart;
use crate::yaml::ReadError;

/// The chart that is held in the program, in the form of a release record.
///
/// # Errors
/// Where its own values cannot be read, which a test rules out.
pub fn recorded() -> Result<Value, ReadError> {
    let file = |(name, text): &(&str, &str)| json!({"name": name, "data": STANDARD.encode(text)});
    let is_template = |name: &str| name.starts_with("templates/");
    let is_special = |name: &str| {
        matches!(name, "Chart.yaml" | "Chart.lock" | "values.yaml" | "values.schema.json")
    };
    let all = || chart::FILES.iter();
    let templates: Vec<Value> = all().filter(|(name, _)| is_template(name)).map(file).collect();
    let others = all().filter(|(name, _)| !is_template(name) && !is_special(name));
    Ok(json!({
        "metadata": chart::metadata().all,
        "lock": null,
        "templates": templates,
        "values": chart::defaults()?.to_json(),
        "schema": STANDARD.encode(chart::file("values.schema.json")),
        "files": others.map(file).collect::<Vec<_>>(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_has_what_helm_needs() {
        let chart = recorded().unwrap();
        assert_eq!(chart["metadata"]["name"], "maas");
        assert_eq!(chart["metadata"]["apiVersion"], "v2");
        assert!(chart["templates"].as_array().unwrap().len() > 10);
        assert!(chart["values"]["conf"].is_object());
        let schema = STANDARD.decode(chart["schema"].as_str().unwrap()).unwrap();
        assert!(serde_json::from_slice::<Value>(&schema).unwrap().is_object());
    }
}
