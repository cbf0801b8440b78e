//! `maas-deployer diff`.

use std::fmt::Write as _;

use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::super::failure::{Exit, Failure};
use super::super::output::printable;
use super::args::DiffArgs;
use super::colour::{Colour, Paint};
use super::{Context, candidate};
use crate::apply::{
    Action, Conflict, Diff, Difference, FieldChange, Operation, Options, field_changes,
};
use crate::yaml::{self, Order};

impl Context<'_> {
    /// What an upgrade would change, or an installation where there is no such release.
    pub(super) async fn diff(&self, args: &DiffArgs) -> Result<Exit, Failure> {
        let options = Options {
            wait: false,
            timeout: std::time::Duration::from_secs(600),
            dry_run: true,
            force_conflicts: false,
            recover: false,
            create_namespace: false,
            phase: None,
        };
        let candidate = match self.current(options).await? {
            Some(last) => candidate::after(&last, &args.source, &args.keep, self.namespace)?,
            None => candidate::first(&args.source, self.name, self.namespace)?,
        };
        let operation =
            Operation::new(self.cluster, self.name, self.namespace, super::by(), options, &());
        let diff =
            Box::pin(operation.diff(&candidate)).await.map_err(|error| self.failure(&error))?;
        if let Some(pending) = &diff.pending {
            self.output.error(&format!("warning: {pending}: an upgrade refuses without --recover"));
        }
        let paint = Paint::of(args.color, std::io::IsTerminal::is_terminal(&std::io::stdout()));
        self.output.data(&text(&diff, args.context_lines, paint));
        self.output.json(&self.described(&diff));
        let is_changed = diff.is_recorded && args.detailed_exitcode;
        Ok(if is_changed { Exit::Changes } else { Exit::Done })
    }

    fn described(&self, diff: &Diff) -> Value {
        let count = |action| diff.count(action);
        let hook = |run: &crate::apply::HookRun| json!({"event": run.event, "object": run.what, "template": run.source});
        json!({
            "schema": "maas-deployer/diff/1",
            "release": self.name,
            "namespace": self.namespace,
            "revision": diff.release.map(|(revision, _)| revision),
            "status": diff.release.map(|(_, status)| status.text()),
            "would_record": diff.is_recorded,
            "counts": {
                "create": count(Action::Create),
                "update": count(Action::Update),
                "replace": count(Action::Replace),
                "delete": count(Action::Delete),
                "unchanged": diff.unchanged,
            },
            "changes": diff.differences.iter().map(difference_json).collect::<Vec<_>>(),
            "kept": diff.kept,
            "beside": diff.beside.iter().flat_map(beside_json).collect::<Vec<_>>(),
            "hooks": diff.hooks.iter().map(hook).collect::<Vec<_>>(),
        })
    }
}

fn difference_json(one: &Difference) -> Value {
    let conflicts = one.conflicts.iter();
    let conflict = |it: &Conflict| json!({"manager": it.manager, "field": it.field});
    let fields = field_changes(one.before.as_ref(), one.after.as_ref());
    let mut described = json!({
        "action": one.action.name(),
        "object": one.what,
        "template": one.source,
        "fields": fields.iter().map(field_json).collect::<Vec<_>>(),
        "conflicts": conflicts.map(conflict).collect::<Vec<_>>(),
    });
    if let (Some(before), Some(map)) = (&one.instead_of, described.as_object_mut()) {
        map.insert("instead_of".to_owned(), json!(before));
    }
    described
}

fn beside_json((what, fields): &(String, Vec<Conflict>)) -> Vec<Value> {
    let field =
        |one: &Conflict| json!({"object": what, "manager": one.manager, "field": one.field});
    fields.iter().map(field).collect()
}

fn field_json(change: &FieldChange) -> Value {
    let kind = match (&change.before, &change.after) {
        (None, _) => "add",
        (_, None) => "remove",
        _ => "replace",
    };
    let mut field = json!({"op": kind, "path": change.path});
    for (name, side) in [("before", &change.before), ("after", &change.after)] {
        if let (Some(value), Some(map)) = (side, field.as_object_mut()) {
            map.insert(name.to_owned(), value.clone());
        }
    }
    field
}

/// All of it, for people.
fn text(diff: &Diff, context: usize, paint: Paint) -> String {
    let mut text = String::new();
    for one in &diff.differences {
        object(&mut text, one, context, paint);
    }
    for kept in &diff.kept {
        let _ = writeln!(text, "stays, as it says that it is to be kept: {kept}");
    }
    for (what, fields) in &diff.beside {
        for Conflict { manager, field } in fields {
            let note =
                format!("stays, as it is not the release's: {field} of {what}, set by {manager}");
            let _ = writeln!(text, "{}", paint.on(Colour::Yellow, &printable(&note)));
        }
    }
    for run in &diff.hooks {
        let _ = writeln!(text, "would run the hook {}: {} ({})", run.event, run.what, run.source);
    }
    let _ = writeln!(text, "{}", summary(diff));
    text
}

fn object(text: &mut String, one: &Difference, context: usize, paint: Paint) {
    let from = if one.source.is_empty() { String::new() } else { format!(" ({})", one.source) };
    let before = one.instead_of.as_ref().map(|before| format!(", in place of the {before}"));
    let head = format!("{} {}{}{from}", one.action.name(), one.what, before.unwrap_or_default());
    let _ = writeln!(text, "{}", paint.on(Colour::Bold, &printable(&head)));
    let yaml = |side: &Option<Value>| {
        side.as_ref().map(|value| yaml::emit(value, Order::Sorted)).unwrap_or_default()
    };
    let (before, after) = (yaml(&one.before), yaml(&one.after));
    let lines = TextDiff::from_lines(before.as_str(), after.as_str());
    let mut unified = lines.unified_diff();
    for hunk in unified.context_radius(context).iter_hunks() {
        let _ = writeln!(text, "{}", paint.on(Colour::Cyan, &hunk.header().to_string()));
        for change in hunk.iter_changes() {
            let (sign, colour) = match change.tag() {
                ChangeTag::Delete => ('-', Colour::Red),
                ChangeTag::Insert => ('+', Colour::Green),
                ChangeTag::Equal => (' ', Colour::Plain),
            };
            let line = printable(change.value().trim_end_matches('\n')).into_owned();
            let _ = writeln!(text, "{}", paint.on(colour, &format!("{sign}{line}")));
        }
    }
    if one.action == Action::Replace && one.before == one.after {
        text.push_str("runs again, as it is: it failed, or what it wrote is gone\n");
    }
    for conflict in &one.conflicts {
        let note = format!(
            "{} owns {}: an upgrade refuses that without --force-conflicts",
            conflict.manager, conflict.field
        );
        let _ = writeln!(text, "{}", paint.on(Colour::Yellow, &printable(&note)));
    }
    text.push('\n');
}

fn summary(diff: &Diff) -> String {
    let count = |action, what: &str| {
        (diff.count(action) > 0).then(|| format!("{} {what}", diff.count(action)))
    };
    let parts: Vec<String> = [
        count(Action::Create, "to create"),
        count(Action::Update, "to change"),
        count(Action::Replace, "to delete and make anew"),
        count(Action::Delete, "to delete"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let unchanged = match diff.unchanged {
        1 => "1 is as it should be".to_owned(),
        count => format!("{count} are as they should be"),
    };
    match (parts.is_empty(), diff.is_recorded) {
        (true, false) => format!("nothing to change; {unchanged}"),
        (true, true) => {
            format!("no object to change; {unchanged}; a new revision would be recorded")
        }
        _ => format!("objects: {}; {unchanged}", parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(differences: Vec<Difference>) -> Diff {
        Diff {
            release: None,
            pending: None,
            differences,
            unchanged: 2,
            kept: Vec::new(),
            beside: Vec::new(),
            is_recorded: true,
            hooks: Vec::new(),
        }
    }

    #[test]
    fn an_object_is_a_unified_diff() {
        let before = json!({"spec": {"replicas": 7, "a": 1, "b": 2, "c": 3, "d": 4}});
        let mut after = before.clone();
        after["spec"]["replicas"] = json!(1);
        let one = Difference {
            action: Action::Update,
            what: "StatefulSet maas/maas-region".into(),
            source: "maas/templates/region.yaml".into(),
            before: Some(before),
            after: Some(after),
            instead_of: None,
            conflicts: Vec::new(),
        };
        let shown = text(&diff(vec![one.clone()]), 1, Paint::none());
        assert_eq!(
            shown,
            "update StatefulSet maas/maas-region (maas/templates/region.yaml)\n\
             @@ -5,2 +5,2 @@\n   d: 4\n-  replicas: 7\n+  replicas: 1\n\n\
             objects: 1 to change; 2 are as they should be\n"
        );
        let fields = difference_json(&one)["fields"].clone();
        assert_eq!(
            fields,
            json!([{"op": "replace", "path": "/spec/replicas", "before": 7, "after": 1}])
        );
        let coloured = text(&diff(vec![one]), 1, Paint::all());
        assert!(coloured.contains("\u{1b}[31m-  replicas: 7\u{1b}[0m\n"), "{coloured:?}");
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let one = Difference {
            action: Action::Create,
            what: "ConfigMap maas/a".into(),
            source: String::new(),
            before: None,
            after: Some(json!({"data": {"a": "x\u{202e}y"}})),
            instead_of: None,
            conflicts: Vec::new(),
        };
        let shown = text(&diff(vec![one]), 3, Paint::none());
        assert!(!shown.contains('\u{202e}'), "{shown:?}");
    }
}
