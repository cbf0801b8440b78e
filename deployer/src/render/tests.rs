use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::tree::{Node, Origin, Source};
use crate::values::Wanted;
use crate::yaml;

/// What templates render to: the first, with these values as `.Values`.
fn run(texts: &[&str], values: &str) -> Result<String, RenderError> {
    let source = Arc::new(Source::File("values.yaml".to_owned()));
    let values = yaml::read(values, &source).unwrap();
    let all = texts.iter().enumerate().map(|(index, text)| (format!("t{index}"), *text));
    let root = json::root(&json!({"Name": "maas"}), chart::metadata(), &values);
    Engine::new(all)?.run("t0", &root)
}

fn shown(text: &str, values: &str) -> String {
    run(&[text], values).unwrap()
}

#[track_caller]
fn fails(texts: &[&str], values: &str, expected: &str) {
    assert_eq!(run(texts, values).unwrap_err().to_string(), expected);
}

#[test]
fn every_template_names_only_what_there_is() {
    check_templates().unwrap();
}

#[test]
fn what_is_not_there_is_found_before_anything_runs() {
    fails(
        &["a\n{{ if false }}{{ lookup \"v1\" }}{{ end }}"],
        "",
        "t0:2: there is no function `lookup` here",
    );
    fails(&["{{ $x := (now) }}"], "", "t0:1: there is no function `now` here");
    fails(
        &["{{ define \"x\" }}\n\n{{ a | upper }}{{ end }}"],
        "",
        "t0:3: there is no function `a` here",
    );
    fails(&["{{ if }}"], "", "t0:1:9: empty command");
    fails(
        &["{{ tpl \"{{ env }}\" . }}"],
        "",
        "a template in the values:1: there is no function `env` here",
    );
    fails(&["{{ include \"x\" . }}"], "", "x: undefined template: x");
}

#[test]
fn a_path_below_null_is_an_error_with_its_line() {
    fails(&["\n{{ .Values.a.b.c }}"], "a: {}", "t0:2: `.c` of nil, which is no map");
    fails(
        &["{{ $v := .Values }}{{ if $v.a.b }}{{ end }}"],
        "a: null",
        "t0:1: `.b` of nil, which is no map",
    );
    assert_eq!(shown("[{{ .Values.a.b }}]", "a: {}"), "[]");
}

#[test]
fn refusals_are_told_in_their_own_words() {
    let nested = ["{{ include \"a\" . }}", "{{ define \"a\" }}{{ fail \"say why\" }}{{ end }}"];
    let refused = run(&nested, "").unwrap_err();
    assert!(matches!(&refused, RenderError::Refused(reason) if reason == "say why"), "{refused}");
    fails(&["{{ required \"needed\" .Values.a }}"], "a: ''", "needed");
    assert_eq!(shown("{{ required \"needed\" .Values.a }}", "a: 0"), "0");
}

#[test]
fn templates_that_include_one_another_end() {
    let endless = "{{ define \"a\" }}{{ include \"a\" . }}{{ end }}{{ include \"a\" . }}";
    fails(&[endless], "", "a: templates include one another without end");
    let text = "{{ tpl .Values.a . }}";
    fails(
        &[text],
        "a: '{{ tpl .Values.a . }}'",
        "a template in the values: templates include one another without end",
    );
}

#[test]
fn values_are_printed_as_go_prints_them() {
    let values = "a: [1, 1.5, 1000000, 1e21, 0.00001, 123456789012]\nb: {x: true, y: null}\n";
    assert_eq!(
        shown(
            "{{ range .Values.a }}{{ . }} {{ quote . }} {{ toJson . }} {{ int . }},{{ end }}",
            values
        ),
        "1 \"1\" 1 1,1.5 \"1.5\" 1.5 1,1e+06 \"1e+06\" 1000000 1000000,\
         1e+21 \"1e+21\" 1e+21 -9223372036854775808,1e-05 \"1e-05\" 0.00001 0,\
         1.23456789012e+11 \"1.23456789012e+11\" 123456789012 123456789012,"
    );
    assert_eq!(shown("{{ .Values.b.x }}{{ .Values.b.y }}", values), "true");
    assert_eq!(
        shown(
            "{{ int \"012\" }} {{ int \"0x10\" }} {{ int \"1.0\" }} {{ int \"1.7\" }} {{ int \"08\" }} {{ int \"-3\" }} {{ int nil }}",
            ""
        ),
        "10 16 1 0 0 -3 0"
    );
    assert_eq!(
        shown(
            r#"{{ quote "<>&\u2028\u0001\t\b\u007fé\u0301\u200b😀\ufeff\u00a0" nil "x" }} {{ squote 1 true }}"#,
            ""
        ),
        r#""<>&\u2028\x01\t\b\x7fé"#.to_owned()
            + "\u{301}"
            + r#"\u200b😀\ufeff\u00a0" "x" '1' 'true'"#
    );
    assert_eq!(
        shown(r#"{{ toJson "<>&\u2028\u0001\t\b\f\u007fé" }}"#, ""),
        "\"\\u003c\\u003e\\u0026\\u2028\\u0001\\t\\b\\f\u{7f}é\""
    );
}

#[test]
fn a_text_is_split_as_go_splits_it() {
    let split = |text: &str| shown(&format!("{{{{ splitList {text} | toJson }}}}"), "");
    assert_eq!(split(r#""/" "http://a/b""#), r#"["http:","","a","b"]"#);
    assert_eq!(split(r#""." """#), r#"[""]"#);
    assert_eq!(split(r#""" "né""#), r#"["n","é"]"#);
}

#[test]
fn merge_keeps_what_is_there_and_not_empty() {
    let values = "a: {x: {k: 1, e: ''}, l: [1], z: 0}\nb: {x: {k: 2, e: f, m: 3}, l: [2], z: 4}\n";
    assert_eq!(
        shown("{{ merge (dict) .Values.a .Values.b | toJson }}", values),
        r#"{"l":[1],"x":{"e":"f","k":1,"m":3},"z":4}"#
    );
}

#[test]
fn the_chart_renders_and_the_release_is_followed() {
    let values = Values::load(&Wanted::default()).unwrap();
    let rendered = render(&values, &ReleaseInfo::install("metal", "ns")).unwrap();
    assert!(rendered.documents.iter().all(|one| one.object.is_object()));
    assert!(rendered.documents.iter().any(|one| one.name() == "metal-maas-region"));
    assert!(rendered.hooks.iter().any(|one| one.annotation("helm.sh/hook") == Some("test")));
    assert!(rendered.notes.contains("release metal in namespace ns"));
    let dotted = render(&values, &ReleaseInfo::install("a.b", "ns")).unwrap_err();
    assert!(matches!(dotted, RenderError::Refused(_)), "{dotted}");
}

#[test]
fn objects_that_are_no_yaml_are_told_with_their_template() {
    let given = json!({"extraObjects": ["a: b: c"]});
    let values = Values::from_json(given, Source::File("x".to_owned())).unwrap();
    let error = render(&values, &ReleaseInfo::install("maas", "maas")).unwrap_err();
    assert_eq!(error.to_string(), "maas/templates/extra-objects.yaml renders to what is no YAML");
    let origin = Origin::whole(Source::Stdin);
    assert_eq!(Node::empty(origin).kind(), "a map");
}
