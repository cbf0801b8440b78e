//! Rendered texts, cut into documents and put in Helm's order.

use std::cmp::Ordering;
use std::sync::Arc;

use super::RenderError;
use crate::manifest::{Document, Rendered, install_order};
use crate::tree::Source;
use crate::yaml;

/// Cuts what a template rendered to into documents; those that are hooks apart.
pub(super) fn split(
    template: &str,
    text: &str,
    rendered: &mut Rendered,
) -> Result<(), RenderError> {
    for text in documents(text) {
        let source = Arc::new(Source::Rendered(template.to_owned()));
        let failed = |source| RenderError::Yaml { template: template.to_owned(), source };
        let object = yaml::read(text, &source).map_err(failed)?.to_json();
        let (source, text) = (template.to_owned(), text.to_owned());
        let document = Document { source, text, object };
        match document.annotation("helm.sh/hook") {
            Some(_) => rendered.hooks.push(document),
            None => rendered.documents.push(document),
        }
    }
    Ok(())
}

/// Texts between lines that begin with `---`, trimmed, without empty ones. As in
/// Helm, white space behind a separator belongs to it, so that a second one
/// right after it is text.
fn documents(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim();
    let mut rest = Some(text.strip_prefix("---").map_or(text, str::trim_start));
    let parts = std::iter::from_fn(move || {
        let text = rest?;
        match text.split_once("\n---") {
            Some((part, after)) => {
                rest = Some(after.trim_start());
                Some(part)
            }
            None => rest.take(),
        }
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// Helm's order of kinds; what is of one kind stays as it was.
pub(super) fn sort(rendered: &mut Rendered) {
    rendered.documents.sort_by(by_kind);
    rendered.hooks.sort_by(by_kind);
}

fn by_kind(a: &Document, b: &Document) -> Ordering {
    let place = |document: &Document| install_order(document.kind());
    match (place(a), place(b)) {
        (None, None) => a.kind().cmp(b.kind()),
        (a, b) => a.is_none().cmp(&b.is_none()).then(a.cmp(&b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_cut_as_helm_cuts_them() {
        let cut = |text| documents(text).collect::<Vec<_>>();
        assert_eq!(cut("---\na: 1\n---\nb: 2\n"), ["a: 1", "b: 2"]);
        assert_eq!(cut("\n\na: 1\n\n---   \n\n  b: |\n    ---\n"), ["a: 1", "b: |\n    ---"]);
        assert_eq!(cut("---\n---\n# c\n---\n"), ["---\n# c"]);
        assert_eq!(cut("\n"), Vec::<&str>::new());
    }
}
