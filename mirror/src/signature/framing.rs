//! The outer form of a clear-signed file.

const BEGIN_MESSAGE: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const BEGIN_SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END_SIGNATURE: &[u8] = b"-----END PGP SIGNATURE-----";

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
    /// It stops before the signature ends.
    #[error("the signed message stops before its signature ends")]
    Truncated,
    /// Text that a client reads and GnuPG does not.
    #[error("there is text in a line of the signed message that its signature does not cover")]
    TextInLine,
    /// More than one signed message, or a line in it that only a second one
    /// would have.
    #[error("it holds more than one signed message")]
    NotOne,
}

/// Checks that `file` is exactly one clear-signed message (RFC 4880 section 7,
/// RFC 9580 section 7): the header line, `Hash:` lines, an empty line, the
/// text with dashes escaped, one armored signature, and no other text.
///
/// # Errors
/// [`FramingError`] says what else there is.
pub fn check_clear_signed(file: &[u8]) -> Result<(), FramingError> {
    let mut lines = file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    if lines.next() != Some(BEGIN_MESSAGE) {
        return Err(not_a_message(file));
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

/// Checks that the text of `file`, which [`check_clear_signed`] has passed, is
/// the `plaintext` that the signature covers.
///
/// GnuPG reads no more than 19,995 bytes of a line and drops white space at
/// the end of what it has read. So a line that goes on with 20,000 spaces and
/// then other text still has a good signature, and a client that takes the
/// text from the file itself reads what nobody signed.
pub(super) fn check_covered(file: &[u8], plaintext: &[u8]) -> Result<(), FramingError> {
    let text = file
        .split(|byte| *byte == b'\n')
        .skip_while(|line| !line.trim_ascii_end().is_empty())
        .skip(1)
        .take_while(|line| line.trim_ascii_end() != BEGIN_SIGNATURE)
        .map(|line| line.strip_prefix(b"- ").unwrap_or(line));
    let covered = plaintext.strip_suffix(b"\n").unwrap_or(plaintext);
    let covered = covered.split(|byte| *byte == b'\n');
    if text.map(<[u8]>::trim_ascii_end).eq(covered.map(<[u8]>::trim_ascii_end)) {
        Ok(())
    } else {
        Err(FramingError::TextInLine)
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
    fn the_text_must_be_what_is_covered() {
        let check =
            |file: &str, plaintext: &str| check_covered(file.as_bytes(), plaintext.as_bytes());
        for plaintext in ["{}\n-----x\n", "{}\n-----x", "{}\r\n-----x \r\n"] {
            assert_eq!(check(GOOD, plaintext), Ok(()), "{plaintext:?}");
        }
        assert_eq!(check(&GOOD.replace('\n', "\r\n"), "{}\n-----x\n"), Ok(()));
        let spaces = " ".repeat(20_000);
        let more = GOOD.replace("{}\n", &format!("{{}}{spaces}{{\"evil\":1}}\n"));
        assert_eq!(check(&more, "{}\n-----x\n"), Err(TextInLine));
        assert_eq!(check(GOOD, "{}\n"), Err(TextInLine));
        assert_eq!(check(GOOD, "{}\n-----x\n{}\n"), Err(TextInLine));
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
