//! The outer form of a clear-signed file.

const BEGIN_MESSAGE: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const BEGIN_SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END_SIGNATURE: &[u8] = b"-----END PGP SIGNATURE-----";

/// The longest line that `gpg` signs. Where it checks, it drops what stands
/// past 20,000 bytes of a line and says "Good signature" of the rest, spaces at
/// its end aside: what was dropped, clients would read.
const MAX_LINE: usize = 19_995;

/// Why bytes are not one clear-signed message and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// No OpenPGP in it.
    #[error("it is not signed")]
    NotSigned,
    /// An OpenPGP message, but not clear-signed text.
    #[error("it is an OpenPGP message, but not a clear-signed one, which clients expect")]
    NotClearSigned,
    /// Something stands before the signed message.
    #[error("there is text before the signed message, which no signature covers")]
    TextBefore,
    /// Something stands after the signature.
    #[error("there is text after the signature, which no signature covers")]
    TextAfter,
    /// A header line other than `Hash:`; OpenPGP allows no other there.
    #[error("there is text in the signed message's header, which no signature covers")]
    TextInHeader,
    /// A line of which GnuPG would check the beginning alone.
    #[error("it has a line of more than {MAX_LINE} bytes, whose end no signature covers")]
    LongLine,
    /// It stops before the signature ends.
    #[error("the signed message stops before its signature ends")]
    Truncated,
    /// More than one signed message, or a line in it that only a second one
    /// would have.
    #[error("it holds more than one signed message")]
    NotOne,
}

/// Checks that `file` is exactly one clear-signed message (RFC 4880 section 7,
/// RFC 9580 section 7): the header line, `Hash:` lines, an empty line, the
/// text with dashes escaped, one armored signature, and no other text; no line
/// longer than GnuPG reads.
///
/// # Errors
/// [`FramingError`] says what else there is.
pub fn check_clear_signed(file: &[u8]) -> Result<(), FramingError> {
    let mut lines = file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    if lines.next() != Some(BEGIN_MESSAGE) {
        return Err(not_a_message(file));
    }
    if file.split(|byte| *byte == b'\n').any(|line| line.len() > MAX_LINE) {
        return Err(FramingError::LongLine);
    }
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b',' | b'-');
        match line.strip_prefix(b"Hash:") {
            Some(names) if names.iter().all(plain) => {}
            _ => return Err(FramingError::TextInHeader),
        }
    }
    skip_past(&mut lines, BEGIN_SIGNATURE)?;
    skip_past(&mut lines, END_SIGNATURE)?;
    match lines.find(|line| !line.is_empty()) {
        None => Ok(()),
        Some(line) if line == BEGIN_MESSAGE => Err(FramingError::NotOne),
        Some(_) => Err(FramingError::TextAfter),
    }
}

/// Takes lines up to and with `marker`. Inside a message a dash at the start of
/// a line is escaped as "- ", so any other armor line belongs to another one.
fn skip_past<'a>(
    lines: &mut impl Iterator<Item = &'a [u8]>,
    marker: &[u8],
) -> Result<(), FramingError> {
    match lines.find(|line| line.starts_with(b"-----")) {
        Some(line) if line == marker => Ok(()),
        // Part of the marker: the file stops inside it.
        Some(line) if marker.starts_with(line) => Err(FramingError::Truncated),
        Some(_) => Err(FramingError::NotOne),
        None => Err(FramingError::Truncated),
    }
}

/// What a file that does not begin as a signed message is.
fn not_a_message(file: &[u8]) -> FramingError {
    let holds = |needle: &[u8]| file.windows(needle.len()).any(|window| window == needle);
    if holds(BEGIN_MESSAGE) {
        FramingError::TextBefore
    } else if holds(b"-----BEGIN PGP MESSAGE-----") || file.first().is_some_and(|b| b & 0x80 != 0) {
        FramingError::NotClearSigned
    } else {
        FramingError::NotSigned
    }
}

#[cfg(test)]
mod tests {
    use super::FramingError::*;
    use super::*;

    const GOOD: &str = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{}\n- -----x\n\
        -----BEGIN PGP SIGNATURE-----\n\nabc=\n-----END PGP SIGNATURE-----\n";

    #[test]
    fn one_message_is_accepted() {
        assert_eq!(check_clear_signed(GOOD.as_bytes()), Ok(()));
        assert_eq!(check_clear_signed(GOOD.replace('\n', "\r\n").as_bytes()), Ok(()));
        assert_eq!(check_clear_signed(format!("{GOOD}\n \n").as_bytes()), Ok(()));
    }

    #[test]
    fn everything_else_is_told_apart() {
        let cases = [
            (String::new(), NotSigned),
            ("{}".to_owned(), NotSigned),
            (format!("{{}}\n{GOOD}"), TextBefore),
            (format!(" {GOOD}"), TextBefore),
            (format!("{GOOD}{{}}\n"), TextAfter),
            (format!("{GOOD}{GOOD}"), NotOne),
            (GOOD.replace("Hash: SHA512", "Hash: SHA512\nComment: {}"), TextInHeader),
            (GOOD.replace("Hash: SHA512", "Hash: {\"a\":1}"), TextInHeader),
            (GOOD.replace("- -----x", "-----x"), NotOne),
            (GOOD.replace("{}", &format!("{{}}{}x", " ".repeat(MAX_LINE))), LongLine),
            (GOOD[..GOOD.len() - 10].to_owned(), Truncated),
            (GOOD[..60].to_owned(), Truncated),
            ("-----BEGIN PGP MESSAGE-----\n".to_owned(), NotClearSigned),
        ];
        for (file, error) in cases {
            assert_eq!(check_clear_signed(file.as_bytes()), Err(error), "{file}");
        }
        assert_eq!(check_clear_signed(&[0xa3, 1, 2]), Err(NotClearSigned));
    }

    #[test]
    fn every_truncation_is_refused() {
        let end = GOOD.trim_end().len();
        for length in 0..end {
            assert!(check_clear_signed(&GOOD.as_bytes()[..length]).is_err(), "{length}");
        }
    }
}
