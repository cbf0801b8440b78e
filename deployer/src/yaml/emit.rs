//! YAML as Helm's `toYaml` writes it: block style, lists at the column of their
//! key, texts plain where that reads back as text, long ones folded at spaces.

use serde_json::{Map, Number, Value};

use super::scalar::resolve;
use crate::tree::Data;

/// After which column a text goes on in the next line.
const WIDTH: usize = 80;

/// In which order keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they stand in the map.
    Given,
    /// As `toYaml` does: by letters, and numbers in them by value.
    Sorted,
}

/// A value as YAML, with a line break at its end.
#[must_use]
pub fn emit(value: &Value, order: Order) -> String {
    let mut writer = Writer { text: String::new(), order };
    match value {
        Value::Object(map) if !map.is_empty() => writer.map(map, 0),
        Value::Array(list) if !list.is_empty() => writer.list(list, 0),
        _ => {
            writer.scalar(value, 2);
            writer.text.push('\n');
        }
    }
    writer.text
}

struct Writer {
    text: String,
    order: Order,
}

impl Writer {
    /// Entries of a map; the cursor stands where the first begins.
    fn map(&mut self, map: &Map<String, Value>, indent: usize) {
        let mut entries: Vec<_> = map.iter().collect();
        if self.order == Order::Sorted {
            entries.sort_by_cached_key(|(key, _)| parts(key));
        }
        for (index, (key, value)) in entries.into_iter().enumerate() {
            if index > 0 {
                self.pad(indent);
            }
            self.key(key, indent);
            match value {
                Value::Object(map) if !map.is_empty() => {
                    self.text.push('\n');
                    self.pad(indent + 2);
                    self.map(map, indent + 2);
                }
                Value::Array(list) if !list.is_empty() => {
                    self.text.push('\n');
                    self.pad(indent);
                    self.list(list, indent);
                }
                _ => {
                    self.text.push(' ');
                    self.scalar(value, indent + 2);
                    self.text.push('\n');
                }
            }
        }
    }

    fn list(&mut self, list: &[Value], indent: usize) {
        for (index, value) in list.iter().enumerate() {
            if index > 0 {
                self.pad(indent);
            }
            self.text.push_str("- ");
            match value {
                Value::Object(map) if !map.is_empty() => self.map(map, indent + 2),
                Value::Array(list) if !list.is_empty() => self.list(list, indent + 2),
                _ => {
                    self.scalar(value, indent + 2);
                    self.text.push('\n');
                }
            }
        }
    }

    fn pad(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
    }

    fn column(&self) -> usize {
        let line = self.text.rfind('\n').map_or(0, |at| at + 1);
        self.text.get(line..).map_or(0, |line| line.chars().count())
    }

    /// A key and its colon. One that is long or has line breaks stands apart.
    fn key(&mut self, key: &str, indent: usize) {
        let apart = key.contains('\n') || key.chars().count() > 128;
        if apart {
            self.text.push_str("? ");
            self.string(key, indent + 2, true);
            self.text.push('\n');
            self.pad(indent);
        } else {
            self.string(key, indent + 2, false);
        }
        self.text.push(':');
    }

    fn scalar(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.text.push_str("null"),
            Value::Bool(value) => self.text.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => self.text.push_str(&number_text(number)),
            Value::String(text) => self.string(text, indent, true),
            Value::Array(_) => self.text.push_str("[]"),
            Value::Object(_) => self.text.push_str("{}"),
        }
    }

    /// A text; `breaks` says whether it may take several lines.
    fn string(&mut self, text: &str, indent: usize, breaks: bool) {
        let form = Form::of(text);
        if text.contains('\n') && breaks && form.block {
            self.literal(text, indent);
        } else if !text.contains('\n') && form.plain && reads_as_text(text) {
            self.words(text, indent, breaks, false);
        } else if form.single && reads_as_text(text) {
            self.text.push('\'');
            self.words(&text.replace('\'', "''"), indent, breaks, true);
            self.text.push('\'');
        } else {
            self.double(text, indent, breaks);
        }
    }

    fn words(&mut self, text: &str, indent: usize, breaks: bool, quoted: bool) {
        let mut after_space = false;
        let mut chars = text.chars().enumerate().peekable();
        let last = text.chars().count().saturating_sub(1);
        while let Some((index, c)) = chars.next() {
            let next_space = chars.peek().is_some_and(|(_, next)| *next == ' ');
            let inner = !quoted || (index > 0 && index < last);
            let fold = c == ' ' && breaks && !after_space && inner && !next_space;
            if fold && self.column() > WIDTH {
                self.text.push('\n');
                self.pad(indent);
            } else {
                self.text.push(c);
            }
            after_space = c == ' ';
        }
    }

    fn double(&mut self, text: &str, indent: usize, breaks: bool) {
        self.text.push('"');
        let mut after_space = false;
        let mut chars = text.chars().enumerate().peekable();
        let last = text.chars().count().saturating_sub(1);
        while let Some((index, c)) = chars.next() {
            let fold = c == ' ' && breaks && !after_space && index > 0 && index < last;
            if fold && self.column() > WIDTH {
                self.text.push('\n');
                self.pad(indent);
                if chars.peek().is_some_and(|(_, next)| *next == ' ') {
                    self.text.push('\\');
                }
            } else {
                escape(&mut self.text, c);
            }
            after_space = c == ' ';
        }
        self.text.push('"');
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.text.push('|');
        if text.starts_with([' ', '\n']) {
            self.text.push('2');
        }
        let body = match text.strip_suffix('\n') {
            None => {
                self.text.push('-');
                text
            }
            Some(body) => {
                if body.is_empty() || body.ends_with('\n') {
                    self.text.push('+');
                }
                body
            }
        };
        for line in body.split('\n') {
            self.text.push('\n');
            if !line.is_empty() {
                self.pad(indent);
                self.text.push_str(line);
            }
        }
    }
}

/// Which forms a text may take.
struct Form {
    plain: bool,
    single: bool,
    block: bool,
}

impl Form {
    fn of(text: &str) -> Self {
        let (mut indicators, mut space_break, mut break_space, mut special) =
            (text.starts_with("---") || text.starts_with("..."), false, false, false);
        let chars: Vec<char> = text.chars().collect();
        let blank = |c: Option<&char>| c.is_none_or(|c| matches!(c, ' ' | '\t' | '\n'));
        let mut previous = ' ';
        for (index, &c) in chars.iter().enumerate() {
            let followed = blank(chars.get(index + 1));
            indicators |= if index == 0 {
                match c {
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\''
                    | '"' | '%' | '@' | '`' => true,
                    '?' | ':' | '-' => followed,
                    _ => false,
                }
            } else {
                (c == ':' && followed) || (c == '#' && blank(Some(&previous)))
            };
            special |= !is_printable(c);
            space_break |= c == '\n' && index > 0 && previous == ' ';
            break_space |= c == ' ' && index > 0 && previous == '\n';
            previous = c;
        }
        let edge = |c: Option<&char>| c.is_some_and(|c| matches!(c, ' ' | '\n'));
        let edges = edge(chars.first()) || edge(chars.last());
        let bad = space_break || special;
        Self {
            plain: !indicators && !edges && !bad && !text.is_empty(),
            single: !bad && !break_space && !text.contains('\n'),
            block: !bad && chars.last() != Some(&' '),
        }
    }
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

/// Whether a plain text would be read as a text again.
fn reads_as_text(text: &str) -> bool {
    matches!(resolve(text), Data::Text(_)) && !is_base_60(text) && !is_time(text)
}

/// `1:20`, which YAML 1.1 took for 80.
fn is_base_60(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = digits.split(':');
    let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let first = parts
        .next()
        .is_some_and(|part| part.starts_with(|c: char| c.is_ascii_digit()) && number(part));
    let rest: Vec<_> = parts.collect();
    let sixty = |part: &str| {
        let part = part.split_once('.').map_or(part, |(whole, _)| whole);
        matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9'])
    };
    first && !rest.is_empty() && rest.iter().all(|part| sixty(part))
}

/// `2024-01-31`, alone or with a time after it.
fn is_time(text: &str) -> bool {
    let (date, rest) = text
        .split_at_checked(text.find(['T', 't', ' ']).unwrap_or(text.len()))
        .unwrap_or((text, ""));
    let parts: Vec<&str> = date.split('-').collect();
    let digits = |part: &&str| part.bytes().all(|b| b.is_ascii_digit());
    let lengths = match parts.as_slice() {
        [year, month, day] => {
            year.len() == 4 && (1..=2).contains(&month.len()) && (1..=2).contains(&day.len())
        }
        _ => false,
    };
    let time = rest.is_empty() || rest.get(1..).is_some_and(|rest| rest.contains(':'));
    lengths && parts.iter().all(digits) && time
}

fn escape(text: &mut String, c: char) {
    let short = match c {
        '\0' => "\\0",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\u{b}' => "\\v",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '\u{1b}' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        _ => "",
    };
    let code = u32::from(c);
    match c {
        _ if !short.is_empty() => text.push_str(short),
        c if is_printable(c) => text.push(c),
        _ if code <= 0xff => text.push_str(&format!("\\x{code:02X}")),
        _ if code <= 0xffff => text.push_str(&format!("\\u{code:04X}")),
        _ => text.push_str(&format!("\\U{code:08X}")),
    }
}

/// A number as Go writes it: whole ones as they are, others with an exponent
/// where they are large or small.
fn number_text(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    let size = float.abs();
    if float.fract() == 0.0 && size < 9.2e18 {
        return format!("{float:.0}");
    }
    if (1e-4..1e6).contains(&size) {
        return format!("{float}");
    }
    exponent(&format!("{float:e}"))
}

/// A number's exponent with a sign and two digits: `1e21` is `1e+21`.
pub(crate) fn exponent(number: &str) -> String {
    let Some((mantissa, exponent)) = number.split_once('e') else { return number.to_owned() };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent.trim_start_matches('+')),
    };
    format!("{}e{sign}{digits:0>2}", mantissa.trim_end_matches(".0"))
}

/// A part of a key: other signs come before numbers, those before letters.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Sign(char),
    Number(u64, usize),
    Letter(char),
}

/// A key in parts, for its order: numbers count by their value.
fn parts(key: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for c in key.chars() {
        match (c.to_digit(10), parts.last_mut()) {
            (Some(digit), Some(Part::Number(number, length))) => {
                *number = number.saturating_mul(10).saturating_add(u64::from(digit));
                *length += 1;
            }
            (Some(digit), _) => parts.push(Part::Number(u64::from(digit), 1)),
            (None, _) if c.is_alphabetic() => parts.push(Part::Letter(c)),
            (None, _) => parts.push(Part::Sign(c)),
        }
    }
    parts
}
