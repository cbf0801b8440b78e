//! Functions of Helm and Sprig that the chart uses.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use gotmpl::{FuncMap, Template, TemplateError, Value};
use sha2::{Digest as _, Sha256};

use super::trees::{PATH, SHOW};
use super::{RenderError, Shared, json};

type Made = gotmpl::Result<Value>;
type Function = fn(&[Value]) -> Made;

/// The functions that need nothing but their arguments.
const PLAIN: &[(&str, Function)] = &[
    ("b64enc", |args| one_text(args, |text| base64::prelude::BASE64_STANDARD.encode(text))),
    ("contains", |args| {
        let [part, text] = texts(args)?;
        Ok(Value::Bool(text.contains(&*part)))
    }),
    ("default", |args| match args {
        [default] => Ok(default.clone()),
        [default, given, ..] => Ok(if given.is_truthy() { given } else { default }.clone()),
        [] => Err(wrong("default takes a value")),
    }),
    ("dict", dict),
    ("hasKey", |args| match args {
        [Value::Map(map), Value::String(key)] => Ok(Value::Bool(map.contains_key(key))),
        _ => Err(wrong("hasKey takes a map and a key")),
    }),
    ("indent", |args| indented(args).map(text)),
    ("int", |args| match args {
        [value] => Ok(Value::Int(integer(value))),
        _ => Err(wrong("int takes one value")),
    }),
    ("list", |args| Ok(Value::List(args.into()))),
    ("merge", |args| {
        let (first, rest) = args.split_first().ok_or_else(|| wrong("merge takes maps"))?;
        rest.iter().try_fold(first.clone(), |into, from| merged(&into, from))
    }),
    ("nindent", |args| indented(args).map(|lines| text(format!("\n{lines}")))),
    ("quote", |args| joined(args, quoted)),
    ("sha256sum", |args| {
        one_text(args, |text| {
            Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
        })
    }),
    ("splitList", |args| {
        let [mark, whole] = texts(args)?;
        Ok(Value::List(split(&whole, &mark).map(text).collect()))
    }),
    ("squote", |args| joined(args, |text| format!("'{text}'"))),
    ("ternary", |args| match args {
        [yes, no, Value::Bool(which)] => Ok(if *which { yes } else { no }.clone()),
        _ => Err(wrong("ternary takes two values, and true or false")),
    }),
    ("toJson", |args| one(args, json::json_text)),
    ("toYaml", |args| one(args, json::yaml_text)),
    ("trimSuffix", |args| {
        let [end, whole] = texts(args)?;
        Ok(text(whole.strip_suffix(&*end).unwrap_or(&whole)))
    }),
    ("trunc", |args| match args {
        [Value::Int(length), Value::String(whole)] => Ok(text(truncated(whole, *length))),
        _ => Err(wrong("trunc takes a number and a text")),
    }),
    (SHOW, |args| one(args, shown)),
];

/// Functions that the engine brings, of which the chart uses some.
const BUILT_IN: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or",
    "print", "printf", "println", "slice", "urlquery",
];
/// Functions that [`super::engine`] adds, and those below that say something.
const OTHERS: &[&str] = &["fail", "include", "required", "tpl"];

/// Names of all functions that a template may use, sorted.
pub(super) fn names() -> Vec<&'static str> {
    let plain = PLAIN.iter().map(|(name, _)| *name).filter(|name| *name != SHOW);
    let mut names: Vec<_> = plain.chain(BUILT_IN.iter().chain(OTHERS).copied()).collect();
    names.sort_unstable();
    names
}

/// Adds all but `include` and `tpl` to a template.
pub(super) fn add(template: Template, said: &Shared<Option<RenderError>>) -> Template {
    let mut map = FuncMap::new();
    for (name, function) in PLAIN {
        map.insert((*name).to_owned(), Arc::new(function));
    }
    let refusing = refuse(said);
    map.insert("fail".to_owned(), {
        let refuse = refusing.clone();
        Arc::new(move |args| Err(refuse(&args.first().map(shown).unwrap_or_default())))
    });
    map.insert("required".to_owned(), {
        Arc::new(move |args| match args {
            [reason, Value::Nil] => Err(refusing(&shown(reason))),
            [reason, Value::String(given)] if given.is_empty() => Err(refusing(&shown(reason))),
            [_, given] => Ok(given.clone()),
            _ => Err(wrong("required takes a reason and a value")),
        })
    });
    let said = Arc::clone(said);
    map.insert(PATH.to_owned(), Arc::new(move |args| path(args, &said)));
    template.funcs(map)
}

fn refuse(
    said: &Shared<Option<RenderError>>,
) -> impl Fn(&str) -> TemplateError + Clone + Send + Sync + 'static {
    let said = Arc::clone(said);
    move |reason| {
        if let Ok(mut said) = said.lock() {
            said.get_or_insert(RenderError::Refused(reason.to_owned()));
        }
        wrong(reason)
    }
}

/// A path of keys in a value. Below null there is nothing: an error, as in Go.
fn path(args: &[Value], said: &Shared<Option<RenderError>>) -> Made {
    let [Value::String(place), start, steps @ ..] = args else {
        return Err(wrong("a path has a place and a start"));
    };
    let mut value = start.clone();
    for step in steps {
        let Value::String(step) = step else { return Err(wrong("a path is made of names")) };
        value = match &value {
            Value::Map(map) => map.get(&**step).cloned().unwrap_or(Value::Nil),
            other => {
                let reason = format!("`.{step}` of {}, which is no map", other.type_name());
                if let Ok(mut said) = said.lock() {
                    let place = place.to_string();
                    said.get_or_insert(RenderError::Template { place, reason: reason.clone() });
                }
                return Err(wrong(&reason));
            }
        };
    }
    Ok(value)
}

fn wrong(reason: &str) -> TemplateError {
    TemplateError::Exec(reason.to_owned())
}

fn text(text: impl Into<Arc<str>>) -> Value {
    Value::String(text.into())
}

fn one(args: &[Value], make: impl Fn(&Value) -> String) -> Made {
    match args {
        [value] => Ok(text(make(value))),
        _ => Err(wrong("the function takes one value")),
    }
}

fn one_text(args: &[Value], make: impl Fn(&str) -> String) -> Made {
    match args {
        [Value::String(value)] => Ok(text(make(value))),
        _ => Err(wrong("the function takes one text")),
    }
}

fn texts(args: &[Value]) -> gotmpl::Result<[Arc<str>; 2]> {
    match args {
        [Value::String(a), Value::String(b)] => Ok([Arc::clone(a), Arc::clone(b)]),
        _ => Err(wrong("the function takes two texts")),
    }
}

/// Parts of a text between marks; without a mark, its letters.
fn split<'a>(whole: &'a str, mark: &'a str) -> Box<dyn Iterator<Item = &'a str> + 'a> {
    if mark.is_empty() {
        return Box::new(whole.split("").filter(|letter| !letter.is_empty()));
    }
    Box::new(whole.split(mark))
}

fn dict(args: &[Value]) -> Made {
    let mut map = BTreeMap::new();
    for pair in args.chunks(2) {
        let (key, value) = match pair {
            [key, value] => (key, value.clone()),
            [key] => (key, text("")),
            _ => continue,
        };
        map.insert(Arc::from(shown(key)), value);
    }
    Ok(Value::Map(Arc::new(map)))
}

fn indented(args: &[Value]) -> gotmpl::Result<String> {
    let [Value::Int(width), Value::String(lines)] = args else {
        return Err(wrong("indentation takes a number and a text"));
    };
    let pad = " ".repeat(usize::try_from(*width).unwrap_or(0));
    Ok(format!("{pad}{}", lines.replace('\n', &format!("\n{pad}"))))
}

/// The first bytes of a text, or with a negative length the last.
fn truncated(whole: &str, length: i64) -> &str {
    let bytes = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
    if bytes >= whole.len() {
        return whole;
    }
    if length < 0 {
        return whole.get(whole.len() - bytes..).unwrap_or(whole);
    }
    whole.get(..bytes).unwrap_or(whole)
}

/// As Sprig's `int`: what is no number is 0.
#[expect(clippy::cast_possible_truncation, reason = "a float is cut off, as in Go")]
fn integer(value: &Value) -> i64 {
    match value {
        Value::Int(value) => *value,
        Value::Uint(value) => i64::try_from(*value).unwrap_or(0),
        // Beyond its range Go gives the least number.
        Value::Float(value) if !(-9.3e18..9.2e18).contains(value) => i64::MIN,
        Value::Float(value) => *value as i64,
        Value::Bool(value) => i64::from(*value),
        Value::String(text) => integer_of(text),
        _ => 0,
    }
}

fn integer_of(text: &str) -> i64 {
    let text = match text.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|b| b == b'0') => whole,
        _ => text,
    };
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)),
        [b'0', _, ..] => (8, digits.get(1..)),
        _ => (10, Some(digits)),
    };
    let digits = digits.filter(|digits| digits.chars().all(|c| c.is_digit(base)));
    digits.and_then(|digits| i64::from_str_radix(digits, base).ok()).map_or(0, |n| sign * n)
}

/// One map over another: what the first has wins, unless it is empty.
fn merged(into: &Value, from: &Value) -> Made {
    let (Value::Map(into), Value::Map(from)) = (into, from) else {
        return Err(wrong("merge takes maps"));
    };
    let mut map = (**into).clone();
    for (key, value) in &**from {
        let value = match (map.get(key), value) {
            (Some(old @ Value::Map(_)), Value::Map(_)) => merged(old, value)?,
            (Some(old), _) if old.is_truthy() => continue,
            _ => value.clone(),
        };
        map.insert(Arc::clone(key), value);
    }
    Ok(Value::Map(Arc::new(map)))
}

fn joined(args: &[Value], make: impl Fn(&str) -> String) -> Made {
    let all = args.iter().filter(|arg| !matches!(arg, Value::Nil));
    let all: Vec<String> = all.map(|arg| make(&shown(arg))).collect();
    Ok(text(all.join(" ")))
}

/// A value as Go prints it; nothing for null.
fn shown(value: &Value) -> String {
    match value {
        Value::Nil => String::new(),
        value => nested(value),
    }
}

/// The same inside of a list or a map, where null shows.
fn nested(value: &Value) -> String {
    match value {
        Value::Float(_) => float(value),
        Value::List(list) => {
            format!("[{}]", list.iter().map(nested).collect::<Vec<_>>().join(" "))
        }
        Value::Map(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{key}:{}", nested(value)));
            format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

/// A float by the engine's own `printf`: only `%g` is as Go prints floats.
fn float(value: &Value) -> String {
    static PRINTER: OnceLock<Option<Template>> = OnceLock::new();
    let printer = PRINTER.get_or_init(|| Template::new("").parse("{{ printf \"%g\" . }}").ok());
    let printed = printer.as_ref().and_then(|printer| printer.execute_to_string(value).ok());
    printed.unwrap_or_else(|| value.to_string())
}

/// A text in double quotes, as Go writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        let code = u32::from(c);
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            ' '..='~' => quoted.push(c),
            '\0'..='\u{7f}' => quoted.push_str(&format!("\\x{code:02x}")),
            c if is_printable(c) => quoted.push(c),
            _ if code <= 0xffff => quoted.push_str(&format!("\\u{code:04x}")),
            _ => quoted.push_str(&format!("\\U{code:08x}")),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether Go prints a sign as it is. `escape_debug` knows the same tables; a
/// letter before it keeps it from escaping what goes with a letter.
fn is_printable(c: char) -> bool {
    let pair: String = ['a', c].iter().collect();
    !pair.escape_debug().skip(1).any(|c| c == '\\')
}
