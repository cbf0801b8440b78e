//! Tar archives, taken apart and put together again with whatever a test needs to be wrong. Written
//! without looking at the program's own reader and writer.

/// A file or anything else in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarEntry {
    /// Its name.
    pub name: String,
    /// Its type flag; `b'0'` for a file.
    pub kind: u8,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl TarEntry {
    /// A regular file.
    #[must_use]
    pub fn file(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.to_owned(), kind: b'0', bytes: bytes.to_vec() }
    }

    /// Anything else, without content.
    #[must_use]
    pub fn other(name: &str, kind: u8) -> Self {
        Self { name: name.to_owned(), kind, bytes: Vec::new() }
    }
}

/// The entries of an archive of regular files.
#[must_use]
pub fn read_tar(archive: &[u8]) -> Vec<TarEntry> {
    let mut entries = Vec::new();
    let mut at = 0;
    while archive[at] != 0 {
        let header = &archive[at..at + 512];
        let name = header[..100].split(|byte| *byte == 0).next().expect("name");
        let size = std::str::from_utf8(&header[124..135]).expect("size");
        let size = usize::from_str_radix(size, 8).expect("size");
        entries.push(TarEntry {
            name: String::from_utf8(name.to_vec()).expect("name"),
            kind: header[156],
            bytes: archive[at + 512..at + 512 + size].to_vec(),
        });
        at += 512 + size.next_multiple_of(512);
    }
    entries
}

/// An archive of these entries.
#[must_use]
pub fn write_tar(entries: &[TarEntry]) -> Vec<u8> {
    let mut archive = Vec::new();
    for TarEntry { name, kind, bytes } in entries {
        archive.extend(tar_header(name, *kind, &format!("{:011o}\0", bytes.len()).into_bytes()));
        archive.extend(bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.extend([0; 1024]);
    archive
}

/// A header with any bytes in its field for the size.
#[must_use]
pub fn tar_header(name: &str, kind: u8, size: &[u8]) -> [u8; 512] {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..124].copy_from_slice(b"0000644\x000000000\x000000000\0");
    header[124..124 + size.len()].copy_from_slice(size);
    header[136..156].copy_from_slice(b"00000000000\0        ");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}
