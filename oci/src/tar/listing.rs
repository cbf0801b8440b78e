//! The regular files of any archive, by name: for archives that others lay out,
//! such as `docker save`'s.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::header::{BLOCK, number, padding, sum_holds, text};
use super::{ArchiveError, MAX_ENTRIES, MAX_TRAILER, pax};

/// Where a file lies in an archive: its first byte and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first byte.
    pub offset: u64,
    /// Its length.
    pub size: u64,
}

/// The regular files of an archive. Names are keys and nothing more: nothing is
/// ever written to a path of such a name. Links, folders and files whose names
/// stand in records of their own are passed over.
///
/// # Errors
/// [`ArchiveError`], where it is damaged or has a name twice.
pub fn list(file: &File) -> Result<BTreeMap<String, Place>, ArchiveError> {
    let length = file.metadata().map_err(ArchiveError::Io)?.len();
    let mut found = BTreeMap::new();
    let (mut at, mut entries, mut records) = (0, 0, None);
    loop {
        let block = read(file, at, length)?;
        if block == [0; BLOCK] {
            return end(file, at, length).map(|()| found);
        }
        entries += 1;
        if entries > MAX_ENTRIES {
            return Err(ArchiveError::TooMany { limit: MAX_ENTRIES });
        }
        let header = header(&block, at)?;
        let (pax_size, is_renamed) = records.take().unwrap_or((None, false));
        let size = pax_size.unwrap_or(header.size);
        let offset = at + BLOCK as u64;
        let after = offset.saturating_add(size).saturating_add(padding(size) as u64);
        if after > length {
            return Err(ArchiveError::Truncated { offset: length });
        }
        match header.kind {
            b'x' => records = Some(pax_records(file, offset, size, &header.name)?),
            // A long name, for the next file.
            b'L' => records = Some((None, true)),
            b'0' | 0 | b'7' if !is_renamed => {
                let name = header.name.strip_prefix("./").unwrap_or(&header.name).to_owned();
                let place = Place { offset, size };
                if found.insert(name, place).is_some() {
                    return Err(ArchiveError::entry(&header.name, "it is there twice"));
                }
            }
            _ => {}
        }
        at = after;
    }
}

struct Header {
    name: String,
    size: u64,
    kind: u8,
}

fn read(file: &File, at: u64, length: u64) -> Result<[u8; BLOCK], ArchiveError> {
    if at.saturating_add(BLOCK as u64) > length {
        return Err(ArchiveError::Truncated { offset: length });
    }
    let mut block = [0; BLOCK];
    file.read_exact_at(&mut block, at).map_err(ArchiveError::Io)?;
    Ok(block)
}

fn header(block: &[u8; BLOCK], at: u64) -> Result<Header, ArchiveError> {
    let damaged = ArchiveError::Damaged { offset: at };
    if &block[257..262] != b"ustar" {
        return Err(if at == 0 { ArchiveError::NotTar } else { damaged });
    }
    if !sum_holds(block) {
        return Err(damaged);
    }
    let Some(name) = text(&block[..100]) else { return Err(damaged) };
    let is_gnu = &block[257..265] == b"ustar  \0";
    let prefix = if is_gnu { Some("") } else { text(&block[345..500]) };
    let name = match prefix {
        Some("") => name.to_owned(),
        Some(prefix) => format!("{prefix}/{name}"),
        None => return Err(damaged),
    };
    let kind = block[156];
    // Links and folders have no content, whatever their size says.
    let has_content = matches!(kind, b'0' | 0 | b'7' | b'x' | b'g' | b'L' | b'K');
    let size = if has_content { number(&block[124..136]) } else { Some(0) };
    match size.filter(|size| i64::try_from(*size).is_ok()) {
        Some(size) => Ok(Header { name, size, kind }),
        None => Err(ArchiveError::entry(&name, "its size cannot be read")),
    }
}

/// The size that records give to the next entry, and whether they rename it.
fn pax_records(
    file: &File,
    offset: u64,
    size: u64,
    name: &str,
) -> Result<(Option<u64>, bool), ArchiveError> {
    if size > pax::MAX_PAX {
        return Err(ArchiveError::entry(name, "its records are too long"));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut bytes, offset).map_err(ArchiveError::Io)?;
    pax::size_and_name(name, &bytes)
}

/// Two blocks of zeros, and what tar fills its last record with.
fn end(file: &File, at: u64, length: u64) -> Result<(), ArchiveError> {
    if length - at > (2 * BLOCK + MAX_TRAILER) as u64 {
        return Err(ArchiveError::Stray { offset: at + 2 * BLOCK as u64 });
    }
    let mut rest = vec![0; usize::try_from(length - at).unwrap_or(0)];
    file.read_exact_at(&mut rest, at).map_err(ArchiveError::Io)?;
    match rest.iter().position(|byte| *byte != 0) {
        Some(first) => Err(ArchiveError::Stray { offset: at + first as u64 }),
        None if rest.len() < 2 * BLOCK => Err(ArchiveError::Truncated { offset: length }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_gnu_tar_writes_is_listed() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path();
        let long = "d".repeat(90);
        std::fs::create_dir_all(root.join(&long)).expect("folder");
        std::fs::write(root.join("manifest.json"), "[]").expect("write");
        std::fs::write(root.join(&long).join("e".repeat(60)), "x").expect("write");
        std::os::unix::fs::symlink("manifest.json", root.join("link")).expect("link");
        for format in ["gnu", "ustar", "pax"] {
            let archive = root.join("out.tar");
            let status = Command::new("tar")
                .args(["--format", format, "-cf"])
                .arg(&archive)
                .arg("-C")
                .arg(root)
                .args(["manifest.json", "link", &long])
                .status();
            assert!(status.expect("tar").success());
            let file = File::open(&archive).expect("open");
            let found = list(&file).expect(format);
            let place = found["manifest.json"];
            let mut text = [0; 2];
            file.read_exact_at(&mut text, place.offset).expect("read");
            assert_eq!((&text, place.size), (b"[]", 2), "{format}");
            assert!(!found.contains_key("link"), "{format}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        use super::super::{END, encode};
        let mut twice = Vec::new();
        for _ in 0..2 {
            twice.extend_from_slice(&encode("a", 0));
        }
        let mut cut = encode("a", 4096).to_vec();
        cut.extend_from_slice(&[1; 512]);
        let mut lies = encode("a", (1 << 62) + 1).to_vec();
        lies.extend_from_slice(&END);
        let mut stray = END.to_vec();
        stray.extend_from_slice(b"x");
        for (what, bytes) in [("twice", twice), ("cut", cut), ("lies", lies), ("stray", stray)] {
            let mut file = tempfile::tempfile().expect("file");
            file.write_all(&bytes).expect("write");
            assert!(list(&file).is_err(), "{what}");
        }
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(&[7; 1024]).expect("write");
        assert!(matches!(list(&file), Err(ArchiveError::NotTar)));
    }
}
