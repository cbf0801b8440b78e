//! `Range` (RFC 9110 section 14).

use http::HeaderValue;

/// The bytes `start..end` of a file, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteRange {
    pub(super) start: u64,
    /// The byte after the last.
    pub(super) end: u64,
}

impl ByteRange {
    pub(super) fn length(self) -> u64 {
        self.end - self.start
    }
}

/// What a `Range` header asks of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Requested {
    /// Nothing that is understood: the whole file, as section 14.2 allows.
    Whole,
    /// One range.
    Part(ByteRange),
    /// No byte of the file: 416.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `size` bytes. Other units, malformed
/// ranges and several ranges at once are answered with the whole file.
pub(super) fn parse(header: &HeaderValue, size: u64) -> Requested {
    let Some(set) = header.to_str().ok().and_then(|text| {
        let (unit, set) = text.split_once('=')?;
        unit.trim().eq_ignore_ascii_case("bytes").then_some(set.trim())
    }) else {
        return Requested::Whole;
    };
    let Some((first, last)) = set.split_once('-').filter(|_| !set.contains(',')) else {
        return Requested::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    match (number(first), number(last)) {
        // A suffix: the last N bytes.
        (None, Some(0)) if first.is_empty() => Requested::Unsatisfiable,
        (None, Some(length)) if first.is_empty() => part(size.saturating_sub(length), size, size),
        (Some(start), None) if last.is_empty() => part(start, size, size),
        (Some(start), Some(last)) if start <= last => part(start, last.saturating_add(1), size),
        _ => Requested::Whole,
    }
}

fn part(start: u64, end: u64, size: u64) -> Requested {
    if start >= size {
        return Requested::Unsatisfiable;
    }
    Requested::Part(ByteRange { start, end: end.min(size) })
}

/// Digits alone; more than 64 bits of them count as the largest number.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(header: &str, size: u64) -> Requested {
        parse(&HeaderValue::from_str(header).expect(header), size)
    }

    fn bytes(start: u64, end: u64) -> Requested {
        Requested::Part(ByteRange { start, end })
    }

    #[test]
    fn first_last_and_open_ends() {
        assert_eq!(ask("bytes=0-0", 10), bytes(0, 1));
        assert_eq!(ask("bytes=2-5", 10), bytes(2, 6));
        assert_eq!(ask("bytes=2-", 10), bytes(2, 10));
        assert_eq!(ask("bytes=2-99", 10), bytes(2, 10));
        assert_eq!(ask("bytes=-3", 10), bytes(7, 10));
        assert_eq!(ask("bytes=-99", 10), bytes(0, 10));
        assert_eq!(ask("Bytes = 1-2 ", 10), bytes(1, 3));
        assert_eq!(ask("bytes=0-99999999999999999999999", 10), bytes(0, 10));
    }

    #[test]
    fn no_byte_of_the_file() {
        for header in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(ask(header, 10), Requested::Unsatisfiable, "{header}");
        }
        assert_eq!(ask("bytes=0-", 0), Requested::Unsatisfiable);
        assert_eq!(ask("bytes=-5", 0), Requested::Unsatisfiable);
    }

    #[test]
    fn what_is_not_understood_means_the_whole_file() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-2",
            "lines=0-1",
            "bytes=0-1,3-4",
            "bytes=+1-2",
            "bytes=--1",
        ] {
            assert_eq!(ask(header, 10), Requested::Whole, "{header}");
        }
    }

    proptest::proptest! {
        /// Against the rules written the slow way, byte by byte.
        #[test]
        fn agrees_with_a_byte_by_byte_model(size in 0_u64..20, a in 0_u64..25, b in 0_u64..25) {
            let select = |wanted: &dyn Fn(u64) -> bool| -> Vec<u64> { (0..size).filter(|i| wanted(*i)).collect() };
            let cases = [
                (format!("bytes={a}-"), select(&|i| i >= a)),
                (format!("bytes={a}-{b}"), if a <= b { select(&|i| i >= a && i <= b) } else { (0..size).collect() }),
                (format!("bytes=-{b}"), select(&|i| i + b >= size)),
            ];
            for (header, expected) in cases {
                let got: Vec<u64> = match ask(&header, size) {
                    Requested::Whole => (0..size).collect(),
                    Requested::Part(range) => { assert!(range.length() > 0); (range.start..range.end).collect() }
                    Requested::Unsatisfiable => Vec::new(),
                };
                assert_eq!(got, expected, "{header} of {size}");
            }
        }
    }
}
