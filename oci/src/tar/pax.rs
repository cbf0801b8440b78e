//! PAX records (POSIX.1-2001): `LENGTH KEY=VALUE\n`, before the entry that
//! they describe.

use super::ArchiveError;

/// Bytes of records before one entry; what Go and GNU tar write has some
/// hundred.
pub(super) const MAX_PAX: u64 = 16 * 1024;

/// The size that the records give to the next entry, if any. Times, owners and
/// comments change nothing and are passed over; whatever would change a name,
/// or how content is laid out, is refused.
pub(super) fn size(name: &str, records: &[u8]) -> Result<Option<u64>, ArchiveError> {
    match size_and_name(name, records)? {
        (size, false) => Ok(size),
        (_, true) => Err(ArchiveError::entry(name, "its name is longer than any in a bundle")),
    }
}

/// The size that the records give to the next entry, and whether they rename it.
pub(super) fn size_and_name(
    name: &str,
    records: &[u8],
) -> Result<(Option<u64>, bool), ArchiveError> {
    let (mut size, mut is_renamed) = (None, false);
    let mut rest = records;
    while !rest.is_empty() {
        let (key, value, behind) =
            record(rest).ok_or_else(|| ArchiveError::entry(name, "its records are damaged"))?;
        let refused = |reason| Err(ArchiveError::entry(name, reason));
        match key {
            "size" => match value.parse::<u64>() {
                Ok(found) if i64::try_from(found).is_ok() => size = Some(found),
                _ => return refused("its size cannot be read"),
            },
            "path" | "linkpath" => is_renamed = true,
            key if key.starts_with("GNU.sparse") => return refused("it is a sparse file"),
            _ => {}
        }
        rest = behind;
    }
    Ok((size, is_renamed))
}

/// The first record and what is behind it.
fn record(bytes: &[u8]) -> Option<(&str, &str, &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(bytes.get(..space)?).ok()?.parse().ok()?;
    let (record, behind) = bytes.split_at_checked(length)?;
    let text = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let (key, value) = std::str::from_utf8(text).ok()?.split_once('=')?;
    Some((key, value, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_change_nothing_are_passed_over() {
        let records = b"30 mtime=1700000000.123456789\n13 comment=x\n";
        assert_eq!(size("a", records).expect("records"), None);
        assert_eq!(size("a", b"20 size=10000000000\n").expect("records"), Some(10_000_000_000));
    }

    #[test]
    fn others_are_refused() {
        for records in [
            &b"12 path=a/b\n"[..],
            b"16 linkpath=a/b\n",
            b"22 GNU.sparse.major=1\n",
            b"28 size=9223372036854775808\n",
            b"10 size=-1\n",
            b"99 size=1\n",
            b"0 size=1\n",
            b"x",
            b"10 size=12",
        ] {
            assert!(size("a", records).is_err(), "{records:?}");
        }
    }
}
