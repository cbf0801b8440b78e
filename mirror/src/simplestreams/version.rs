//! The order of version names.

use std::cmp::Ordering;

/// Compares two version names; the newer is the greater.
///
/// A version is `YYYYMMDD` or `YYYYMMDD.N`. Names are compared part by part
/// between dots: two parts of digits by their number, two others as text, a
/// part of digits before one that is not, and a name that ends first is the
/// older. So `20210928.10` is newer than `20210928.9`, where `sstream-mirror`,
/// which compares the names as plain strings, takes `.9`. For all names without
/// such a change in length the two orders agree.
#[must_use]
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let mut left = a.split('.');
    let mut right = b.split('.');
    loop {
        let order = match (left.next(), right.next()) {
            (Some(x), Some(y)) => compare_parts(x, y),
            (None, None) => return a.cmp(b), // "01" and "1": equal as numbers, still two names
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn compare_parts(a: &str, b: &str) -> Ordering {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|c| c.is_ascii_digit());
    match (digits(a), digits(b)) {
        (true, true) => {}
        (true, false) => return Ordering::Less,
        (false, true) => return Ordering::Greater,
        (false, false) => return a.cmp(b),
    }
    // Without leading zeros the longer number is the greater: no overflow,
    // however long the name.
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_numbers() {
        let mut names = ["20210928.10", "20220101", "20210928", "20210928.9", "20210928.1"];
        names.sort_by(|a, b| compare_versions(a, b));
        assert_eq!(names, ["20210928", "20210928.1", "20210928.9", "20210928.10", "20220101"]);
    }

    #[test]
    fn longer_numbers_are_newer() {
        assert_eq!(compare_versions("9", "10"), Ordering::Less);
        let huge = "9".repeat(400);
        assert_eq!(compare_versions(&huge, "10"), Ordering::Greater);
    }

    proptest::proptest! {
        /// For dates of one length, with or without a one-digit serial, this
        /// is the plain string order that sstream-mirror uses.
        #[test]
        fn agrees_with_string_order_where_lengths_agree(
            a in "20[0-9]{6}(\\.[0-9])?", b in "20[0-9]{6}(\\.[0-9])?",
        ) {
            assert_eq!(compare_versions(&a, &b), a.cmp(&b));
        }

        #[test]
        fn is_a_total_order(a in "[0-9a.]{0,6}", b in "[0-9a.]{0,6}", c in "[0-9a.]{0,6}") {
            assert_eq!(compare_versions(&a, &b), compare_versions(&b, &a).reverse());
            if compare_versions(&a, &b).is_le() && compare_versions(&b, &c).is_le() {
                assert!(compare_versions(&a, &c).is_le());
            }
        }
    }
}
