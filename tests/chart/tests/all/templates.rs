//! The chart keeps to the functions that the deployer's own renderer has, so
//! that it renders what Helm renders.

use std::collections::BTreeSet;
use std::path::Path;

use chart_tests::files;
use chart_tests::template::actions;
use chart_tests::{values, yaml};

const KEYWORDS: [&str; 8] = ["if", "else", "end", "with", "range", "define", "template", "nil"];
/// `contains` (of text), `int` and `splitList` are beyond the first list of that renderer.
const FUNCTIONS: [&str; 32] = [
    "and",
    "b64enc",
    "contains",
    "default",
    "dict",
    "eq",
    "fail",
    "false",
    "gt",
    "hasKey",
    "include",
    "indent",
    "int",
    "list",
    "merge",
    "ne",
    "nindent",
    "not",
    "or",
    "printf",
    "quote",
    "required",
    "sha256sum",
    "splitList",
    "squote",
    "ternary",
    "toJson",
    "toYaml",
    "tpl",
    "trimSuffix",
    "true",
    "trunc",
];
/// Objects of Helm's that it lacks.
const LACKING: [&str; 3] = [".Files", ".Capabilities", ".Template"];

fn templates(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            templates(&path, found);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path.file_name().unwrap().to_string_lossy().into_owned(), text));
        }
    }
}

fn all() -> Vec<(String, String)> {
    let mut found = Vec::new();
    templates(&files::chart().join("templates"), &mut found);
    assert!(found.len() > 15, "{}", found.len());
    found.sort();
    found
}

/// What a template must not say, as a message; none if all is well.
fn objections(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for action in actions(text) {
        for word in &action.words {
            let first = word.chars().next().unwrap();
            let known = match first {
                '(' | ')' | '|' | ',' | ':' | '=' => true,
                '$' | '.' => !LACKING.iter().any(|object| word.contains(object)),
                '-' => false,
                _ if first.is_ascii_digit() => word.chars().all(|c| c.is_ascii_digit()),
                _ => KEYWORDS.contains(&&**word) || FUNCTIONS.contains(&&**word),
            };
            if !known {
                found.push(format!("{name}:{}: {word}", action.line));
            }
        }
    }
    found
}

#[test]
fn templates_use_nothing_that_the_renderer_lacks() {
    let found: Vec<_> = all().iter().flat_map(|(name, text)| objections(name, text)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_renderer_has_every_function() {
    let known = maas_deployer::render::function_names();
    let words = ["false", "true"];
    let missing = FUNCTIONS.iter().filter(|name| !known.contains(name) && !words.contains(name));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new());
    maas_deployer::render::check_templates().unwrap();
}

#[test]
fn what_the_renderer_lacks_is_found() {
    for bad in [
        "{{ lookup \"v1\" }}",
        "{{ randAlphaNum 3 }}",
        "{{- $x := set . \"a\" 1 }}",
        "{{ .Files.Get \"x\" }}",
        "{{ $.Capabilities.APIVersions.Has \"x\" }}",
        "{{ 1.5 }}",
        "{{ if (index .a 0) }}{{ end }}",
        "{{ now }}",
    ] {
        assert_eq!(objections("x", bad).len(), 1, "{bad}");
    }
}

#[test]
fn text_is_formatted_by_s_and_d_alone() {
    for (name, text) in all() {
        for (number, line) in text.lines().enumerate() {
            let Some((_, rest)) = line.split_once("printf ") else { continue };
            let directives = rest.split('%').skip(1).map(|part| part.chars().next());
            let good = directives.into_iter().all(|one| matches!(one, Some('s' | 'd')));
            assert!(good, "{name}:{}: {line}", number + 1);
        }
    }
}

#[test]
fn definitions_are_used_and_have_one_place() {
    let all = all();
    let whole: String = all.iter().map(|(_, text)| text.as_str()).collect();
    let mut seen = BTreeSet::new();
    for part in whole.split("define \"").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(seen.insert(name), "{name} is defined twice");
        let by_name = whole.matches(&format!("include \"{name}\"")).count();
        // Settings' sections are included by names that are put together.
        assert!(by_name > 0 || name.starts_with("maas.settings."), "{name} is used nowhere");
    }
}

#[test]
fn values_hold_no_number_that_is_not_whole() {
    let text = std::fs::read_to_string(files::chart().join("values.yaml")).unwrap();
    let values = yaml(&files::chart().join("values.yaml"));
    for path in values::leaves(&values) {
        let fraction = values::at(&values, &path).is_some_and(serde_json::Value::is_f64);
        assert!(!fraction, "{}", path.join("."));
    }
    // YAML 1.1, which Helm reads, takes these for booleans.
    for word in [": yes", ": no", ": on", ": off", ": y", ": n"] {
        assert!(!text.lines().any(|line| line.ends_with(word)), "{word}");
    }
}
