//! One header: 512 bytes before each file (POSIX.1-1988, `ustar`).

use super::ArchiveError;

/// Everything in a tar archive comes in blocks of so many bytes.
pub const BLOCK: usize = 512;

/// An archive ends with two blocks of zeros.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The first size that eleven octal digits cannot say: 8 GiB.
const LARGE: u64 = 1 << 33;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// Records for the next entry (POSIX.1-2001).
    Pax,
}

/// A header whose checksum holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) kind: Kind,
}

/// Zeros behind `size` bytes of a file, up to the next block.
#[must_use]
pub fn padding(size: u64) -> usize {
    let past = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if past == 0 { 0 } else { BLOCK - past }
}

/// The header of a regular file that anybody may read, of no time and nobody:
/// the same file has the same header everywhere. `name` has at most 100 bytes.
#[must_use]
pub fn encode(name: &str, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block[0..100], name.as_bytes());
    put(&mut block[100..108], b"0000644\0");
    put(&mut block[108..116], b"0000000\0");
    put(&mut block[116..124], b"0000000\0");
    if size < LARGE {
        put(&mut block[124..136], format!("{size:011o}\0").as_bytes());
        put(&mut block[257..265], b"ustar\x0000");
    } else {
        // GNU's base-256, which every reader of today understands.
        block[124] = 0x80;
        put(&mut block[128..136], &size.to_be_bytes());
        put(&mut block[257..265], b"ustar  \0");
    }
    put(&mut block[136..148], b"00000000000\0");
    block[156] = b'0';
    let sum = checksum(&block);
    put(&mut block[148..156], format!("{sum:06o}\0 ").as_bytes());
    block
}

fn put(field: &mut [u8], bytes: &[u8]) {
    field.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
}

/// The sum of all bytes, those of the sum itself taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..])
}

/// Reads the header that starts at byte `offset`.
pub(super) fn decode(block: &[u8; BLOCK], offset: u64) -> Result<Header, ArchiveError> {
    let gnu = &block[257..265] == b"ustar  \0";
    if !gnu && &block[257..265] != b"ustar\x0000" {
        return Err(if offset == 0 {
            ArchiveError::NotTar
        } else {
            ArchiveError::Damaged { offset }
        });
    }
    if !sum_holds(block) {
        return Err(ArchiveError::Damaged { offset });
    }
    let text = text(&block[..100]).ok_or(ArchiveError::Damaged { offset })?;
    let refused = |reason| Err(ArchiveError::entry(text, reason));
    // No name in a bundle is so long that it needs one.
    if !gnu && block[345] != 0 {
        return refused("its name is longer than any in a bundle");
    }
    let kind = match block[156] {
        b'0' | 0 | b'7' => Kind::File,
        b'5' => Kind::Folder,
        b'x' => Kind::Pax,
        b'1' | b'2' => return refused("it is a link"),
        b'3' | b'4' | b'6' => return refused("it is a device or a pipe"),
        b'S' => return refused("it is a sparse file"),
        b'L' | b'K' | b'N' => return refused("its name is longer than any in a bundle"),
        b'g' => return refused("it has records for the whole archive"),
        _ => return refused("it is of a kind that is not known"),
    };
    let Some(size) = number(&block[124..136]) else {
        return refused("its size cannot be read");
    };
    if i64::try_from(size).is_err() {
        return refused("its size is 2^63 bytes or more");
    }
    Ok(Header { name: text.to_owned(), size, kind })
}

/// Whether a header fits its checksum.
pub(super) fn sum_holds(block: &[u8; BLOCK]) -> bool {
    octal(&block[148..156]) == Some(checksum(block))
}

/// A field up to its first zero.
pub(super) fn text(field: &[u8]) -> Option<&str> {
    let bytes = field.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(bytes).ok()
}

/// Octal digits, with spaces before and spaces or zeros behind.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_start_matches(' ').trim_end_matches([' ', '\0']);
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| u64::from_str_radix(digits, 8).ok()).flatten()
}

/// A size: octal, or behind a first byte of 0x80 big-endian binary.
pub(super) fn number(field: &[u8]) -> Option<u64> {
    match field.split_first() {
        Some((0x80, rest)) => rest.iter().try_fold(0_u64, |sum, byte| {
            let shifted = sum.checked_mul(256)?;
            shifted.checked_add(u64::from(*byte))
        }),
        _ => octal(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for size in [0, 1, 511, 512, LARGE - 1, LARGE, u64::MAX >> 1] {
            let header = decode(&encode("blobs/x", size), 0).expect("header");
            assert_eq!(header, Header { name: "blobs/x".into(), size, kind: Kind::File });
        }
    }

    /// GNU tar lists a file of 9 GiB as we write it.
    #[test]
    fn others_read_large_sizes() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("large.tar");
        let size = 9 << 30;
        std::fs::write(&path, encode("blobs/large", size)).expect("write");
        // Sparse: it takes no room.
        let file = std::fs::File::options().write(true).open(&path).expect("open");
        file.set_len(BLOCK as u64 + size + END.len() as u64).expect("length");
        let listed = std::process::Command::new("tar").arg("-tvf").arg(&path).output();
        let listed = listed.expect("tar");
        let text = String::from_utf8_lossy(&listed.stdout);
        assert!(listed.status.success() && text.contains("9663676416"), "{text}");
    }

    #[test]
    fn sizes_of_two_to_the_63_are_refused() {
        for size in [1 << 63, u64::MAX] {
            let error = decode(&encode("x", size), 0).expect_err("too large");
            assert!(error.to_string().contains("2^63"), "{error}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let block = encode("blobs/sha256/00", 12345);
        for bit in 0..8 * BLOCK {
            let mut flipped = block;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let same = decode(&flipped, 512).is_ok_and(|header| {
                // A space for a zero behind the sum says the same.
                header == decode(&block, 512).expect("header") && (148..156).contains(&(bit / 8))
            });
            assert!(same || decode(&flipped, 512).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn padding_fills_the_block() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
    }
}
