//! `maas-deployer template`.

use serde_json::{Value, json};

use super::args::TemplateArgs;
use super::failure::{Exit, Failure};
use super::output::Output;
use crate::manifest::Document;
use crate::render::render;

pub(super) fn run(args: &TemplateArgs, output: &Output) -> Result<Exit, Failure> {
    let values = args.values.load()?;
    let release = args.release.install();
    let rendered = render(&values, &release).map_err(|error| Failure::render(&error))?;
    let all = || rendered.documents.iter().chain(&rendered.hooks);
    if let Some(missing) = args.show_only.iter().find(|name| !all().any(|one| is_of(one, name))) {
        let reason = format!("{missing} is no template of the chart, or renders to nothing");
        return Err(Failure::usage("cannot show the template", reason)
            .with_hint("without --show-only, `# Source:` lines name each template"));
    }
    let shown = |one: &&Document| {
        args.show_only.is_empty() || args.show_only.iter().any(|name| is_of(one, name))
    };
    let text: String = all().filter(shown).map(Document::to_manifest).collect();
    output.data(&text);
    output.json(&json!({
        "schema": "maas-deployer/template/1",
        "release": release.name,
        "namespace": release.namespace,
        "documents": all().filter(shown).map(described).collect::<Value>(),
        "notes": rendered.notes,
    }));
    Ok(Exit::Done)
}

/// Whether a document is of that template: `templates/region.yaml`, with or
/// without the chart's name before it.
fn is_of(document: &Document, name: &str) -> bool {
    let path = document.source.split_once('/').map_or("", |(_, path)| path);
    name == document.source || name == path
}

fn described(document: &Document) -> Value {
    json!({
        "source": document.source,
        "hook": document.annotation("helm.sh/hook"),
        "object": document.object,
    })
}
