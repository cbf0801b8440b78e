//! The chart's templates, cut into the words of their actions.

/// One action of a template, `{{ … }}`, without comments and strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The line that it begins on, from 1.
    pub line: usize,
    /// Its words: functions, keywords, fields (`.Values.x`), variables (`$x`),
    /// literals other than strings, and single signs.
    pub words: Vec<String>,
}

/// The actions of a template.
#[must_use]
pub fn actions(text: &str) -> Vec<Action> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(start) = rest.find("{{") {
        line += rest[..start].matches('\n').count();
        let body = &rest[start + 2..];
        let inner = body.trim_start_matches('-').trim_start();
        let length = if inner.starts_with("/*") {
            body.find("*/").expect("a comment ends") + 2
        } else {
            let (words, length) = words(body);
            found.push(Action { line, words });
            length
        };
        let end = length + body[length..].find("}}").expect("an action ends") + 2;
        line += body[..end].matches('\n').count();
        rest = &body[end..];
    }
    found
}

/// The words up to the `}}` that ends the action, and how long that is.
fn words(body: &str) -> (Vec<String>, usize) {
    let mut words = Vec::new();
    let mut at = usize::from(body.starts_with("- "));
    loop {
        let rest = &body[at..];
        let first = rest.chars().next().expect("an action ends");
        if rest.starts_with("}}") || rest.starts_with("-}}") {
            return (words, at);
        }
        let length = match first {
            '"' => quoted(rest, true),
            '`' => quoted(rest, false),
            c if is_word(c) => rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let word = &rest[..length];
        if !first.is_whitespace() && !matches!(first, '"' | '`') {
            words.push(word.to_owned());
        }
        at += length;
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '$')
}

/// The length of the string that `rest` begins with.
fn quoted(rest: &str, escapes: bool) -> usize {
    let mark = rest.chars().next().unwrap();
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if escapes && c == '\\' {
            escaped = true;
        } else if c == mark {
            return index + 1;
        }
    }
    panic!("a string ends: {rest}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_without_strings_and_comments() {
        let text =
            "a\n{{- /* if x }} */ -}}\n{{ if not (eq .Values.a \"lookup }}\") -}}b{{ $x := 1 }}";
        let found = actions(text);
        assert_eq!(found[0].line, 3);
        assert_eq!(found[0].words, ["if", "not", "(", "eq", ".Values.a", ")"]);
        assert_eq!(found[1].words, ["$x", ":", "=", "1"]);
        assert_eq!(found.len(), 2);
    }
}
