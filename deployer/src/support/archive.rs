//! The archive: bounded, each file without secrets, an index of it at its end.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::SupportError;
use crate::strike::Strike;

/// The folder that all is in.
const FOLDER: &str = "maas-support";

/// A file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the bundle's folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// What is not in the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// What.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// What is in a bundle, and what is not.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Its files.
    pub files: Vec<Entry>,
    /// What could not be gathered, or was left out.
    pub left: Vec<Left>,
}

/// An archive that is being written.
pub(super) struct Archive<W: Write> {
    tar: Builder<GzEncoder<W>>,
    strike: Strike,
    contents: Contents,
    room: u64,
    now_s: u64,
}

impl<W: Write> Archive<W> {
    /// An archive of at most `room` bytes, before they are packed.
    pub(super) fn new(to: W, strike: Strike, room: u64) -> Self {
        let now = jiff::Timestamp::now().as_second();
        Self {
            tar: Builder::new(GzEncoder::new(to, Compression::default())),
            strike,
            contents: Contents::default(),
            room,
            now_s: u64::try_from(now).unwrap_or(0),
        }
    }

    pub(super) fn strike(&self) -> &Strike {
        &self.strike
    }

    /// Adds a file. Secrets are struck out of it; should one be found all the same, it is left
    /// out.
    pub(super) fn text(&mut self, path: &str, text: &str) -> Result<(), SupportError> {
        let text = self.strike.text(text);
        let bytes = text.len() as u64;
        if self.strike.finds(&text) {
            self.left(path, "a secret could not be struck out of it");
            return Ok(());
        }
        let Some(room) = self.room.checked_sub(bytes) else {
            self.left(path, "the bundle is as large as it may be");
            return Ok(());
        };
        self.room = room;
        self.write(path, text.as_bytes())?;
        self.contents.files.push(Entry { path: path.to_owned(), bytes });
        Ok(())
    }

    /// Adds a file of JSON, indented. Its texts are looked at before they are escaped and
    /// folded.
    pub(super) fn json(&mut self, path: &str, value: &Value) -> Result<(), SupportError> {
        let mut value = value.clone();
        self.strike.value(&mut value);
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        self.text(path, &format!("{text}\n"))
    }

    /// Notes what is not in it.
    pub(super) fn left(&mut self, what: &str, reason: &str) {
        self.contents.left.push(Left { what: what.to_owned(), reason: reason.to_owned() });
    }

    /// Adds the index, ends the archive, and gives back what it was written to.
    pub(super) fn finish(mut self, about: &Value) -> Result<(Contents, W), SupportError> {
        let files = self.contents.files.iter();
        let left = self.contents.left.iter();
        let mut index = json!({
            "schema": "maas-deployer/support-bundle/1",
            "about": about,
            "files": files.map(|it| json!({"path": it.path, "bytes": it.bytes})).collect::<Value>(),
            "left_out": left.map(|it| json!({"what": it.what, "why": it.reason})).collect::<Value>(),
        });
        self.strike.value(&mut index);
        let text = serde_json::to_string_pretty(&index).unwrap_or_default();
        let text = self.strike.text(&text);
        self.write("index.json", text.as_bytes())?;
        let mut to = self.tar.into_inner()?.finish()?;
        to.flush()?;
        Ok((self.contents, to))
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.now_s);
        self.tar.append_data(&mut header, format!("{FOLDER}/{path}"), bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;
    use crate::strike::Secrets;

    fn files(packed: &[u8]) -> BTreeMap<String, String> {
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(packed));
        let read = |entry: io::Result<tar::Entry<'_, _>>| {
            let mut entry: tar::Entry<'_, flate2::read::GzDecoder<&[u8]>> = entry.unwrap();
            assert_eq!(entry.header().mode().unwrap(), 0o600);
            let path = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (path, text)
        };
        tar.entries().unwrap().map(read).collect()
    }

    #[test]
    fn files_have_no_secret_and_the_index_says_what_there_is() {
        let mut secrets = Secrets::default();
        secrets.add(b"hunter22 with spaces");
        let mut archive = Archive::new(Vec::new(), secrets.strike().unwrap(), 200);
        archive.text("logs/a.log", "password: hunter22 with spaces\n").unwrap();
        archive.json("a.json", &json!({"a": "hunter22 with spaces"})).unwrap();
        archive.text("logs/b.log", &"x".repeat(300)).unwrap();
        archive.left("logs/c.log", "no right to read it: hunter22 with spaces");
        let (contents, packed) = archive.finish(&json!({"release": "maas"})).unwrap();
        assert_eq!((contents.files.len(), contents.left.len()), (2, 2));
        let files = files(&packed);
        assert_eq!(files["maas-support/logs/a.log"], "password: (hidden)\n");
        assert!(!files.values().any(|text| text.contains("hunter22")), "{files:?}");
        let index: Value = serde_json::from_str(&files["maas-support/index.json"]).unwrap();
        assert_eq!(index["files"][0], json!({"path": "logs/a.log", "bytes": 19}));
        assert_eq!(index["left_out"][0]["why"], "the bundle is as large as it may be");
        assert_eq!(index["left_out"][1]["why"], "no right to read it: (hidden)");
    }
}
