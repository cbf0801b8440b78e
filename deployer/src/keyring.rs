//! OpenPGP keyrings as MAAS takes them.
//!
//! MAAS accepts any bytes as `keyring_data` and then, where they are not a
//! binary keyring of public keys, fails every signature without a word. So an
//! armored keyring is made binary here, and anything else is refused before it
//! is sent. Only the packets' frame is read (RFC 9580, section 4): whether a
//! key signed anything is gpgv's business, in MAAS.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Why bytes are no keyring.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// Nothing there.
    #[error("the keyring is empty")]
    Empty,
    /// GnuPG's own database.
    #[error("the keyring is a keybox (GnuPG's own .kbx format), which MAAS cannot read")]
    Keybox,
    /// A secret key, which nobody else must have.
    #[error("the keyring holds a SECRET key; only public keys may leave the machine they are on")]
    SecretKey,
    /// Armor that is cut short or wrong.
    #[error("the keyring's armor is broken: {0}")]
    Armor(&'static str),
    /// Something else.
    #[error("the keyring is not OpenPGP: {0}")]
    NotOpenPgp(&'static str),
}

/// The binary form of a keyring, armored or binary.
///
/// # Errors
/// [`KeyringError`].
pub fn binary(bytes: &[u8]) -> Result<Vec<u8>, KeyringError> {
    let text = bytes.trim_ascii_start();
    if text.is_empty() {
        return Err(KeyringError::Empty);
    }
    let binary = match text.first() {
        // The first byte of a packet has its highest bit set; no text does.
        Some(byte) if byte & 0x80 != 0 => bytes.to_vec(),
        _ if bytes.get(8..12) == Some(b"KBXf") => return Err(KeyringError::Keybox),
        _ => {
            let text = std::str::from_utf8(text)
                .map_err(|_| KeyringError::NotOpenPgp("it is neither packets nor armor"))?;
            dearmored(text)?
        }
    };
    check_packets(&binary)?;
    Ok(binary)
}

/// The bytes of every armored block of `text`, one after the other.
fn dearmored(text: &str) -> Result<Vec<u8>, KeyringError> {
    const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
    const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
    let mut lines = text.lines().map(str::trim_end);
    let mut bytes = Vec::new();
    let mut found = false;
    while let Some(line) = lines.next() {
        if line.starts_with("-----BEGIN PGP PRIVATE KEY") {
            return Err(KeyringError::SecretKey);
        }
        if line != BEGIN {
            continue;
        }
        found = true;
        let mut body: Vec<&str> = Vec::new();
        loop {
            match lines.next() {
                Some(END) => break,
                Some(line) => body.push(line),
                None => return Err(KeyringError::Armor("it does not end")),
            }
        }
        bytes.extend(block(&body)?);
    }
    if found { Ok(bytes) } else { Err(KeyringError::NotOpenPgp("it is neither packets nor armor")) }
}

/// The bytes of one armored block: headers, an empty line, base64, a checksum.
fn block(lines: &[&str]) -> Result<Vec<u8>, KeyringError> {
    let after_headers = lines.iter().position(|line| line.trim().is_empty());
    let body = match after_headers {
        Some(at) => lines.get(at + 1..).unwrap_or_default(),
        None => lines,
    };
    let (sums, data): (Vec<&str>, Vec<&str>) =
        body.iter().copied().partition(|line| line.starts_with('=') && line.len() == 5);
    let bytes = STANDARD
        .decode(data.concat())
        .map_err(|_| KeyringError::Armor("it holds characters that are no base64"))?;
    if let Some(sum) = sums.first() {
        let sum = STANDARD.decode(sum.trim_start_matches('=')).unwrap_or_default();
        if crc24(&bytes).to_be_bytes().get(1..) != Some(sum.as_slice()) {
            return Err(KeyringError::Armor("its checksum is wrong: it was changed or cut"));
        }
    }
    Ok(bytes)
}

/// The checksum of armor (RFC 9580, section 6.1.1).
fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x00b7_04ce, |mut crc, &byte| {
        crc ^= u32::from(byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
        }
        crc & 0x00ff_ffff
    })
}

/// Walks over the packets: all whole, the first a public key, none secret.
fn check_packets(bytes: &[u8]) -> Result<(), KeyringError> {
    const PUBLIC_KEY: u8 = 6;
    const SECRET_KEYS: [u8; 2] = [5, 7];
    let mut rest = bytes;
    let mut first = true;
    while !rest.is_empty() {
        let (tag, after) =
            packet(rest).ok_or(KeyringError::NotOpenPgp("a packet is broken or cut short"))?;
        if SECRET_KEYS.contains(&tag) {
            return Err(KeyringError::SecretKey);
        }
        if first && tag != PUBLIC_KEY {
            return Err(KeyringError::NotOpenPgp("it does not begin with a public key"));
        }
        first = false;
        rest = after;
    }
    Ok(())
}

/// The first packet's tag, and what follows the packet.
fn packet(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&head, rest) = bytes.split_first()?;
    if head & 0x80 == 0 {
        return None;
    }
    let (tag, length, rest) = if head & 0x40 != 0 {
        let (length, rest) = new_length(rest)?;
        (head & 0x3f, length, rest)
    } else {
        let octets = match head & 0x03 {
            0 => 1,
            1 => 2,
            2 => 4,
            _ => return None, // of unknown length: no key is
        };
        let (length, rest) = number(rest, octets)?;
        ((head >> 2) & 0x0f, length, rest)
    };
    rest.get(length..).map(|after| (tag, after))
}

fn new_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    match first {
        0..=191 => Some((usize::from(first), rest)),
        192..=223 => {
            let (&second, rest) = rest.split_first()?;
            Some(((usize::from(first) - 192) * 256 + usize::from(second) + 192, rest))
        }
        255 => number(rest, 4),
        _ => None, // partial lengths: not in keys
    }
}

fn number(bytes: &[u8], octets: usize) -> Option<(usize, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(octets)?;
    Some((digits.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet in the new format.
    fn packet_of(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xc0 | tag, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        bytes
    }

    fn key() -> Vec<u8> {
        [packet_of(6, b"key material"), packet_of(13, b"A <a@b.c>")].concat()
    }

    fn armored(bytes: &[u8], sum: bool) -> String {
        let mut text = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: a key\n\n".to_owned();
        text.push_str(&STANDARD.encode(bytes));
        if sum {
            text.push_str(&format!("\n={}", STANDARD.encode(&crc24(bytes).to_be_bytes()[1..])));
        }
        text.push_str("\n-----END PGP PUBLIC KEY BLOCK-----\n");
        text
    }

    #[test]
    fn a_binary_keyring_stays_as_it_is() {
        assert_eq!(binary(&key()).unwrap(), key());
        // The old format, two octets of length.
        let old = [vec![0x99, 0, 3], b"abc".to_vec()].concat();
        assert_eq!(binary(&old).unwrap(), old);
    }

    #[test]
    fn armor_is_taken_off() {
        assert_eq!(binary(armored(&key(), true).as_bytes()).unwrap(), key());
        assert_eq!(binary(armored(&key(), false).as_bytes()).unwrap(), key());
        let two = format!("two keys\n{}{}", armored(&key(), true), armored(&key(), true));
        assert_eq!(binary(two.as_bytes()).unwrap(), [key(), key()].concat());
        let windows = armored(&key(), true).replace('\n', "\r\n");
        assert_eq!(binary(windows.as_bytes()).unwrap(), key());
    }

    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        assert_eq!(crc24(b""), 0x00b7_04ce);
        assert_eq!(crc24(b"123456789"), 0x0021_cf02);
    }

    #[test]
    fn what_is_no_keyring_is_refused() {
        assert_eq!(binary(b" \n"), Err(KeyringError::Empty));
        assert!(matches!(binary(b"<html>"), Err(KeyringError::NotOpenPgp(_))));
        assert!(matches!(binary(&key()[..5]), Err(KeyringError::NotOpenPgp(_))));
        assert!(matches!(binary(&packet_of(13, b"id")), Err(KeyringError::NotOpenPgp(_))));
        assert_eq!(binary(&packet_of(5, b"oh no")), Err(KeyringError::SecretKey));
        let secret = b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n";
        assert_eq!(binary(secret), Err(KeyringError::SecretKey));
        assert_eq!(binary(b"\0\0\0 \x01\x01\0\0KBXf....."), Err(KeyringError::Keybox));
    }

    #[test]
    fn broken_armor_is_refused() {
        let cut = armored(&key(), true);
        let cut = &cut[..cut.len() - 40];
        assert!(matches!(binary(cut.as_bytes()), Err(KeyringError::Armor(_))));
        let other = armored(&key(), true).replacen("Y", "Z", 1).replacen('a', "b", 20);
        assert!(binary(other.as_bytes()).is_err());
        let wrong = armored(&key(), false)
            .replace("\n-----END", &format!("\n={}\n-----END", STANDARD.encode([0, 0, 0])));
        assert!(matches!(binary(wrong.as_bytes()), Err(KeyringError::Armor(_))));
    }
}
