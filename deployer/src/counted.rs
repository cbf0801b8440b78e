//! Numbers of things, as people say them.

use std::fmt::Display;

/// `1 node`, `2 nodes`, `0 entries`; `one` is the word for a single one.
pub(crate) fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, one: &str) -> String {
    match one.strip_suffix('y') {
        _ if count == N::from(1) => format!("1 {one}"),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{count} {stem}ies"),
        _ => format!("{count} {one}s"),
    }
}

/// The verb that fits so many.
pub(crate) fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_all_else_is_many() {
        assert_eq!([counted(0, "node"), counted(1, "node")], ["0 nodes", "1 node"]);
        assert_eq!([counted(-1, "day"), counted(1_i64, "day")], ["-1 days", "1 day"]);
        assert_eq!([counted(1, "entry"), counted(2, "entry")], ["1 entry", "2 entries"]);
        assert_eq!([are(0), are(1), are(2)], ["are", "is", "are"]);
    }
}
