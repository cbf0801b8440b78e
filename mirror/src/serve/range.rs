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
    /// Nothing that is understood, or more than is reasonable: the whole file,
    /// as section 14.2 allows.
    Whole,
    /// One range.
    Part(ByteRange),
    /// Several, apart from each other and in the file's order.
    Parts(Vec<ByteRange>),
    /// No byte of the file: 416.
    Unsatisfiable,
}

/// Ranges read from one header. Clients of files ask for a few; hundreds of
/// tiny ones are an attack (RFC 9110 section 17.15).
const MOST: usize = 32;

/// Reads a `Range` header for a file of `size` bytes. Other units, malformed
/// sets and too many ranges are answered with the whole file. Ranges that
/// overlap or touch become one; those past the end are left out, as long as
/// any is left.
pub(super) fn parse(header: &HeaderValue, size: u64) -> Requested {
    let Some(set) = header.to_str().ok().and_then(|text| {
        let (unit, set) = text.split_once('=')?;
        unit.trim().eq_ignore_ascii_case("bytes").then_some(set.trim())
    }) else {
        return Requested::Whole;
    };
    let mut ranges = Vec::new();
    // Empty list elements are allowed and mean nothing (section 5.6.1).
    let specs = set.split(',').map(str::trim).filter(|spec| !spec.is_empty());
    for (index, spec) in specs.enumerate() {
        match parse_one(spec, size) {
            None => return Requested::Whole,
            Some(_) if index >= MOST => return Requested::Whole,
            Some(range) => ranges.push(range),
        }
    }
    if ranges.is_empty() {
        return Requested::Whole;
    }
    let mut merged = merge(ranges.into_iter().flatten().collect());
    match merged.len() {
        0 => Requested::Unsatisfiable,
        1 => merged.pop().map_or(Requested::Whole, Requested::Part),
        _ => Requested::Parts(merged),
    }
}

/// One range: `None` where it is malformed, `Some(None)` where it holds no
/// byte of the file.
fn parse_one(spec: &str, size: u64) -> Option<Option<ByteRange>> {
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    match (number(first), number(last)) {
        // A suffix: the last N bytes.
        (None, Some(0)) if first.is_empty() => Some(None),
        (None, Some(length)) if first.is_empty() => {
            Some(part(size.saturating_sub(length), size, size))
        }
        (Some(start), None) if last.is_empty() => Some(part(start, size, size)),
        (Some(start), Some(last)) if start <= last => {
            Some(part(start, last.saturating_add(1), size))
        }
        _ => None,
    }
}

/// Sorts ranges and joins those that overlap or touch.
fn merge(mut ranges: Vec<ByteRange>) -> Vec<ByteRange> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<ByteRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(before) if range.start <= before.end => before.end = before.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn part(start: u64, end: u64, size: u64) -> Option<ByteRange> {
    (start < size).then(|| ByteRange { start, end: end.min(size) })
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
            "bytes=0-1,x",
            "bytes=0-1,5-2",
            "bytes=,",
            "bytes=+1-2",
            "bytes=--1",
        ] {
            assert_eq!(ask(header, 10), Requested::Whole, "{header}");
        }
    }

    #[test]
    fn several_ranges_are_sorted_and_joined() {
        let parts = |list: &[(u64, u64)]| {
            let ranges = list.iter().map(|(start, end)| ByteRange { start: *start, end: *end });
            Requested::Parts(ranges.collect())
        };
        assert_eq!(ask("bytes=0-1,3-4", 10), parts(&[(0, 2), (3, 5)]));
        assert_eq!(ask("bytes=8-,0-0, 4-5", 10), parts(&[(0, 1), (4, 6), (8, 10)]));
        assert_eq!(ask("bytes=0-4,5-9", 10), bytes(0, 10));
        assert_eq!(ask("bytes=0-4,2-3,-99", 10), bytes(0, 10));
        assert_eq!(ask("bytes=0-1,20-30", 10), bytes(0, 2));
        assert_eq!(ask("bytes=20-30,-0", 10), Requested::Unsatisfiable);
        let many = (0..40).map(|i| format!("{}-{}", i * 2, i * 2)).collect::<Vec<_>>().join(",");
        assert_eq!(ask(&format!("bytes={many}"), 1000), Requested::Whole);
    }

    /// Which bytes a header asks for, by the rules of section 14 written the
    /// slow way; `None`: all, because it is malformed.
    fn model(specs: &[(Option<u64>, Option<u64>)], size: u64) -> Option<Vec<u64>> {
        let mut wanted = vec![false; usize::try_from(size).expect("small")];
        for spec in specs {
            let hit: Box<dyn Fn(u64) -> bool> = match *spec {
                (Some(a), Some(b)) if a <= b => Box::new(move |i| i >= a && i <= b),
                (Some(a), None) => Box::new(move |i| i >= a),
                (None, Some(n)) => Box::new(move |i| i + n >= size),
                _ => return None,
            };
            (0..size)
                .filter(|i| hit(*i))
                .for_each(|i| wanted[usize::try_from(i).expect("small")] = true);
        }
        Some((0..size).filter(|i| wanted[usize::try_from(*i).expect("small")]).collect())
    }

    proptest::proptest! {
        /// Any set of ranges, in any order, gives exactly the bytes of the
        /// model, each once and in order.
        #[test]
        fn agrees_with_a_byte_by_byte_model(
            size in 0_u64..40,
            specs in proptest::collection::vec(
                (proptest::option::of(0_u64..50), proptest::option::of(0_u64..50)), 1..6),
        ) {
            let show = |n: Option<u64>| n.map_or(String::new(), |n| n.to_string());
            let text: Vec<_> = specs.iter().map(|(a, b)| format!("{}-{}", show(*a), show(*b))).collect();
            let header = format!("bytes={}", text.join(", "));
            let bytes_of = |ranges: &[ByteRange]| -> Vec<u64> {
                ranges.iter().flat_map(|range| range.start..range.end).collect()
            };
            let got = match ask(&header, size) {
                Requested::Whole => None,
                Requested::Part(range) => Some(bytes_of(&[range])),
                Requested::Parts(ranges) => {
                    assert!(ranges.len() > 1 && ranges.windows(2).all(|w| w[0].end < w[1].start));
                    Some(bytes_of(&ranges))
                }
                Requested::Unsatisfiable => Some(Vec::new()),
            };
            assert_eq!(got, model(&specs, size), "{header} of {size}");
        }
    }
}
