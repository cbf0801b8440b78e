//! Sizes of parts.

/// `4GiB`, `4.7GB`, a number of bytes, or the name of a medium. Names stand for
/// what fits beside a file system of its own.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let media = [
        ("cd", 700_000_000),
        ("dvd", 4_690_000_000),
        ("dvd-dl", 8_500_000_000),
        ("bluray", 25_000_000_000),
        ("bluray-dl", 50_000_000_000),
        // FAT has no file of 4 GiB or more.
        ("fat32", u64::from(u32::MAX)),
    ];
    if let Some((_, size)) = media.iter().find(|(name, _)| *name == text) {
        return Ok(*size);
    }
    let wrong = || {
        "write a size such as 4GiB or 4.7GB, or cd, dvd, dvd-dl, bluray, bluray-dl, fat32"
            .to_owned()
    };
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    scaled(number, factor).filter(|size| *size > 0).ok_or_else(wrong)
}

/// A decimal number times `factor`, without the rounding of a float.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction: u64 = fraction.parse().ok()?;
    let parts = u128::from(fraction) * u128::from(factor) / u128::from(scale);
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(factor)?.checked_add(u64::try_from(parts).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [
            ("1", 1),
            ("4GiB", 4 << 30),
            ("4.7GB", 4_700_000_000),
            ("700 MB", 700_000_000),
            ("0.5KiB", 512),
            ("fat32", 4_294_967_295),
        ] {
            assert_eq!(parse(text), Ok(size), "{text}");
        }
        for text in ["", "0", "4G", "-1", "1.2.3MB", "GiB", "99999999999TiB", "floppy", "4gib"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
