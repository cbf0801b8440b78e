use serde_json::json;

use super::*;

fn read(wanted: &Wanted) -> Value {
    wanted.read().unwrap().to_json()
}

fn set(texts: &[&str]) -> Value {
    read(&Wanted { set: texts.iter().map(|&text| text.to_owned()).collect(), ..Wanted::default() })
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let wanted = Wanted { set: vec![text.to_owned()], ..Wanted::default() };
    assert_eq!(wanted.read().unwrap_err().to_string(), expected);
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("values.yaml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

/// The problems of a file, without the name of its folder.
fn problems(text: &str) -> Vec<String> {
    let (folder, path) = file(text);
    let error = Values::load(&Wanted { files: vec![path], ..Wanted::default() }).unwrap_err();
    let ValuesError::Wrong(problems) = error else { panic!("{error}") };
    let folder = format!("{}/", folder.path().display());
    problems.iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
}

#[test]
fn set_has_helms_grammar() {
    assert_eq!(set(&["a=1,b.c=x,b.d=true"]), json!({"a": 1, "b": {"c": "x", "d": true}}));
    assert_eq!(set(&["a={1,x,},b=2", "c={}"]), json!({"a": [1, "x", ""], "b": 2, "c": [""]}));
    assert_eq!(set(&[r"a\.b=x\,y\=z,c=\{d"]), json!({"a.b": "x,y=z", "c": "{d"}));
    assert_eq!(set(&["a[1].b=1,a[0]=x,a[2][0]=y"]), json!({"a": ["x", {"b": 1}, ["y"]]}));
    assert_eq!(
        set(&["a=012,b=0,c=-3,d=1.5,e=,f=null,g=0x1,h=9223372036854775808"]),
        json!({"a": "012", "b": 0, "c": -3, "d": "1.5", "e": "", "f": null, "g": "0x1",
            "h": "9223372036854775808"})
    );
    assert_eq!(set(&["a.b=1", "a.c=2", "a.b=3"]), json!({"a": {"b": 3, "c": 2}}));
}

#[test]
fn an_option_that_makes_no_sense_is_refused_without_its_value() {
    refused("a", "--set a: has no value: write KEY=VALUE");
    refused("a.b", "--set a.b: has no value: write KEY=VALUE");
    refused("a,b=1", "--set a: has no value: write KEY=VALUE");
    refused("=hidden", "--set: a key is empty");
    refused("a..b=hidden", "--set a: a key is empty");
    refused("a[x]=hidden", "--set a: what stands in [ ] must be a number");
    refused("a[70000]=hidden", "--set a: an index may be 65536 at most");
    refused("a={x,hidden", "--set a: a list must end with }");
    refused("a=1,a.b=hidden", "--set a.b: `b` is below a number, not below a map");
    refused("a.b=1,a[0]=hidden", "--set a[0]: [0] is in a map, not in a list");
    let deep = vec!["a"; 40].join(".");
    assert!(Wanted { set: vec![format!("{deep}=1")], ..Wanted::default() }.read().is_err());
}

#[test]
fn other_kinds_of_set_win_in_helms_order() {
    let (_folder, path) = file("a: file\nb: file\nc: file\nd: file\ne: {f: 1, g: 2}\n");
    let content = path.display();
    let wanted = Wanted {
        files: vec![path.clone()],
        json: vec![r#"a="json",b="json",c="json""#.into(), r#"{"e": {"g": [3]}}"#.into()],
        set: vec!["b=set,c=set".into()],
        text: vec!["c=12".into()],
        from_file: vec![format!("d={content}")],
        registry: None,
    };
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(
        read(&wanted),
        json!({"a": "json", "b": "set", "c": "12", "d": text, "e": {"f": 1, "g": [3]}})
    );
    let wanted = Wanted { from_file: vec!["a=/no/such/file".into()], ..Wanted::default() };
    assert_eq!(
        crate::chain(&wanted.read().unwrap_err()),
        "--set-file a: /no/such/file cannot be read: No such file or directory (os error 2)"
    );
    for bad in ["a={hidden", "{hidden", "a=1 hidden"] {
        let wanted = Wanted { json: vec![bad.into()], ..Wanted::default() };
        let error = crate::chain(&wanted.read().unwrap_err());
        assert!(!error.contains("hidden"), "{error}");
    }
}

#[test]
fn files_are_merged_and_lists_replaced() {
    let (_one, first) = file("a: {b: 1, c: [1, 2]}\nd: 1\n");
    let (_two, second) = file("a: {c: [3], e: null}\nd: null\n");
    let wanted = Wanted { files: vec![first, second], ..Wanted::default() };
    assert_eq!(read(&wanted), json!({"a": {"b": 1, "c": [3], "e": null}, "d": null}));
    let (_three, empty) = file("# nothing\n");
    assert_eq!(read(&Wanted { files: vec![empty], ..Wanted::default() }), json!({}));
    let (_four, list) = file("- a\n");
    let error = Wanted { files: vec![list], ..Wanted::default() }.read().unwrap_err();
    assert!(error.to_string().ends_with("holds a list, not a map of values"), "{error}");
}

#[test]
fn a_null_deletes_a_default() {
    let (_folder, path) = file("conf: {maas: {extra_settings: {completed_intro: null}}}");
    let values = Values::load(&Wanted { files: vec![path], ..Wanted::default() }).unwrap();
    let json = values.merged().to_json();
    let settings = json.pointer("/conf/maas/extra_settings").unwrap();
    assert_eq!(settings.get("completed_intro"), None);
    assert_eq!(settings.get("enable_analytics"), Some(&json!(false)));
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = "conf:\n  cache:\n    prt: 1\n    port: '8888'\n    every: x y\n    enabled: maybe\n\
                cache: {}\nimages:\n  pull_policy: never\n  tags: null\n\
                endpoints: {maas_db: {auth: {user: {password: 1234}}}}\n";
    let mut problems = problems(text);
    problems.sort();
    assert_eq!(
        problems,
        [
            "values.yaml:10: images.tags is set to null, which deletes its default, but it is \
             needed (leave the key out, or give it a value)",
            "values.yaml:11: endpoints.maas_db.auth.user.password is a number; it must be null or \
             text (put a number that is meant as text in quotes, or use --set-string)",
            "values.yaml:3: conf.cache.prt is no key of the chart (did you mean `port`?)",
            "values.yaml:4: conf.cache.port is text, \"8888\"; it must be a whole number (leave out \
             the quotes)",
            "values.yaml:5: conf.cache.every is text, \"x y\"; it must be never, or a duration such \
             as 90s, 15m, 6h or 1d",
            "values.yaml:6: conf.cache.enabled is text, \"maybe\"; it must be true or false",
            "values.yaml:7: cache is no key of the chart (did you mean `conf.cache`?)",
            "values.yaml:9: images.pull_policy is text, \"never\"; it must be one of \"Always\", \
             \"IfNotPresent\", \"Never\"",
        ]
    );
}

#[test]
fn what_a_pattern_accepts_is_told_in_words() {
    let text = "storage: {mirror: {pvc: {size: lots}}}\n\
                conf: {maas: {extra_settings: {Ntp: 1}, dns: {dns_servers: [here]}}}\n";
    assert_eq!(
        problems(text),
        [
            "values.yaml:1: storage.mirror.pvc.size is text, \"lots\"; it must be a number with a \
             unit as Kubernetes has it, such as 20Gi",
            "values.yaml:2: conf.maas.dns.dns_servers[0] is text, \"here\"; it must be an IP address",
            "values.yaml:2: conf.maas.extra_settings.Ntp has a name that cannot be; it must be a \
             setting's name of small letters, digits and _, a letter first",
        ]
    );
}

/// Each pattern of the schema, by its place, with the words beside it.
fn patterns(schema: &Value, place: &str, found: &mut Vec<(String, Option<String>)>) {
    let children: Vec<(String, &Value)> = match schema {
        Value::Object(map) => {
            if schema["pattern"].is_string() {
                let words = schema["accepts"].as_str().map(str::to_owned);
                found.push((place.to_owned(), words));
            }
            map.iter().map(|(key, value)| (key.clone(), value)).collect()
        }
        Value::Array(list) => {
            list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (key, value) in children {
        patterns(value, &format!("{place}/{key}"), found);
    }
}

#[test]
fn every_pattern_of_the_schema_has_words() {
    let schema: Value = serde_json::from_str(chart::file("values.schema.json")).unwrap();
    let mut found = Vec::new();
    patterns(&schema, "", &mut found);
    assert!(found.len() > 70, "{}", found.len());
    for (place, words) in found {
        let words = words.unwrap_or_default();
        let is_plain = !words.is_empty() && !words.contains(['^', '$', '*', '\\']);
        assert!(is_plain, "{place}: what its pattern accepts is not told in words: '{words}'");
        assert!(!words.ends_with('.'), "{place}: '{words}' goes on behind \"it must be\"");
    }
}

#[test]
fn every_default_is_taken_by_the_schema() {
    let values = Values::load(&Wanted::default()).unwrap();
    assert_eq!(values.merged().to_json(), chart::defaults().unwrap().to_json());
    assert_eq!(values.given().to_json(), json!({}));
}

#[test]
fn a_registry_takes_the_place_of_others() {
    let wanted = Wanted {
        set: vec!["images.registry=old.example/x,images.tags.maas_rack=quay.io/team/rack:1".into()],
        registry: Some("new.example:5000/boot".into()),
        ..Wanted::default()
    };
    let json = Values::load(&wanted).unwrap().merged().to_json();
    let at = |pointer: &str| json.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    assert_eq!(at("/images/registry"), "new.example:5000/boot");
    assert_eq!(at("/images/tags/maas_rack"), "team/rack:1");
    assert!(at("/images/tags/maas_region").starts_with("maas-region-controller:"));
}
