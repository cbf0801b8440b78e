//! Bundles whose archive is right and whose content is not.

use e2e::{TarEntry, World, sha256, write_tar};
use fixtures::{SigningKey, StreamSpec};

use super::Gap;

/// A bundle that can be changed. All digests are made right again after a change, so that it is
/// the change alone that is wrong.
pub(super) struct Bundle(pub(super) Vec<TarEntry>);

impl Bundle {
    pub(super) fn of(entries: Vec<TarEntry>) -> Self {
        Self(entries)
    }

    pub(super) fn tar(&self) -> Vec<u8> {
        write_tar(&self.0)
    }

    /// Changes a blob, and then the names of it and of all that name it. Its length must stay.
    pub(super) fn change_blob(&mut self, digest: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let name = format!("blobs/sha256/{digest}");
        let entry = self.0.iter_mut().find(|entry| entry.name == name).expect("blob");
        let length = entry.bytes.len();
        change(&mut entry.bytes);
        assert_eq!(entry.bytes.len(), length);
        let new = sha256(&entry.bytes);
        assert_ne!(new, digest, "nothing was changed");
        entry.name = format!("blobs/sha256/{new}");
        self.rename(digest, &new);
    }

    /// Puts a new name in place of an old one, in whatever names it, and so on up.
    fn rename(&mut self, old: &str, new: &str) {
        loop {
            let user = self.0.iter_mut().find_map(|entry| {
                // Items are no text, and a signed file stays as it is.
                let text = std::str::from_utf8(&entry.bytes).ok()?;
                if text.starts_with("-----BEGIN PGP") {
                    return None;
                }
                let renamed = text.contains(old).then(|| text.replace(old, new))?;
                Some((entry, renamed))
            });
            let Some((entry, renamed)) = user else {
                return;
            };
            entry.bytes = renamed.into_bytes();
            if let Some(before) = entry.name.strip_prefix("blobs/sha256/").map(str::to_owned) {
                let after = sha256(&entry.bytes);
                entry.name = format!("blobs/sha256/{after}");
                self.rename(&before, &after);
            }
        }
    }

    /// Changes the text of a blob, whatever its length becomes: the sizes that others list for it
    /// are made right as well.
    pub(super) fn change_length(&mut self, digest: &str, change: &dyn Fn(&str) -> String) {
        let name = format!("blobs/sha256/{digest}");
        let entry = self.0.iter_mut().find(|entry| entry.name == name).expect("blob");
        let old = format!("sha256:{digest}\",\"size\":{}", entry.bytes.len());
        let text = change(std::str::from_utf8(&entry.bytes).expect("text"));
        entry.bytes = text.into_bytes();
        let new = sha256(&entry.bytes);
        assert_ne!(new, digest, "nothing was changed");
        entry.name = format!("blobs/sha256/{new}");
        let new_size = format!("sha256:{new}\",\"size\":{}", entry.bytes.len());
        let user = self.0.iter().find_map(|entry| {
            let text = std::str::from_utf8(&entry.bytes).ok()?;
            text.contains(&old).then(|| entry.name.clone())
        });
        let user = user.expect("something that names it");
        match user.strip_prefix("blobs/sha256/") {
            Some(user) => self.change_length(user, &|text| text.replace(&old, &new_size)),
            None => {
                let entry = self.0.iter_mut().find(|entry| entry.name == user).expect("entry");
                let text = std::str::from_utf8(&entry.bytes).expect("text");
                entry.bytes = text.replace(&old, &new_size).into_bytes();
            }
        }
    }

    /// The digest of the first blob whose text holds `part`, if there is one.
    pub(super) fn holding(&self, part: &str) -> Option<String> {
        let found = self.0.iter().find(|entry| {
            entry.name.starts_with("blobs/")
                && std::str::from_utf8(&entry.bytes).is_ok_and(|text| text.contains(part))
        })?;
        Some(found.name.trim_start_matches("blobs/sha256/").to_owned())
    }

    pub(super) fn find(&self, part: &str) -> String {
        self.holding(part).unwrap_or_else(|| panic!("no blob with {part}"))
    }

    fn replace(&mut self, from: &str, to: &str) {
        let digest = self.find(from);
        self.change_blob(&digest, |bytes| {
            let text = String::from_utf8(bytes.clone()).expect("text");
            *bytes = text.replace(from, to).into_bytes();
        });
    }
}

fn bundle(gap: &Gap) -> Bundle {
    Bundle::of(e2e::read_tar(&gap.bundle()))
}

#[test]
fn the_archive_is_put_together_as_it_was() {
    let gap = Gap::set();
    assert!(bundle(&gap).tar() == gap.bundle());
}

#[test]
fn metadata_signed_by_another_key() {
    let gap = Gap::set();
    let other = World::signed_by(
        SigningKey::generate("Other <o@example.org>").expect("key"),
        &StreamSpec::new(),
    );
    other.sync().run().expect(0);
    other.export("other.tar").run().expect(0);
    let bytes = std::fs::read(other.dir().join("other.tar")).expect("bundle");
    let stderr = gap.refuses(&bytes, 4);
    assert!(stderr.contains("which is not in the keyring"), "{stderr}");
    gap.put("other.tar", &bytes);
    gap.world.import_to(&gap.there, &["other.tar"]).run().failed(4, "import-other-key");
    gap.world.verify().args([gap.world.dir().join("other.tar")]).run().expect(4);
    gap.assert_stands();
}

#[test]
fn metadata_that_was_changed() {
    let gap = Gap::set();
    let mut bad = bundle(&gap);
    // The products file, not a manifest: those have no kernel release.
    let digest = bad.find("\"krel\"");
    bad.change_blob(&digest, |bytes| {
        let text = String::from_utf8(bytes.clone()).expect("text");
        *bytes = text.replacen("squashfs", "squashfx", 1).into_bytes();
    });
    let stderr = gap.refuses(&bad.tar(), 4);
    assert!(stderr.contains("was changed after it was signed"), "{stderr}");
    gap.assert_stands();
}

#[test]
fn items_that_no_signature_covers() {
    let gap = Gap::set();
    let mut bad = bundle(&gap);
    bad.replace("/squashfs\"}", "/squashfz\"}");
    let stderr = gap.refuses(&bad.tar(), 4);
    assert!(stderr.contains("no signed metadata lists it"), "{stderr}");
    let mut bad = bundle(&gap);
    bad.replace("xenial/amd64/20211015/squashfs\"}", "xenial/amd64/20211015/../sqush\"}");
    let stderr = gap.refuses(&bad.tar(), 4);
    assert!(stderr.contains("outside the mirror"), "{stderr}");
    // Other content under a path that is listed.
    let mut bad = bundle(&gap);
    let squashfs = gap.world.stream.items["xenial/amd64/20211015/squashfs"].sha256();
    bad.change_blob(&squashfs, |bytes| bytes[7] ^= 1);
    let stderr = gap.refuses(&bad.tar(), 4);
    assert!(stderr.contains("the signed metadata lists other content for it"), "{stderr}");
    gap.assert_stands();
}

#[test]
fn blobs_that_are_named_and_not_there() {
    let gap = Gap::set();
    let all = bundle(&gap);
    let blobs = all.0.iter().filter(|entry| entry.name.starts_with("blobs/"));
    for missing in blobs.filter(|entry| entry.bytes != b"{}") {
        let kept = all.0.iter().filter(|entry| *entry != missing).cloned();
        let bad = write_tar(&kept.collect::<Vec<_>>());
        let stderr = gap.refuses(&bad, 4);
        assert!(stderr.contains("is named in it, and is not there"), "{stderr}");
        // A stream's lack is known when it is wanted, or at its end.
        let (file, empty) = (gap.world.dir().join("bad.tar"), gap.world.dir().join("empty"));
        let import = gap.world.at("import", &empty).args(gap.world.keyring_args());
        let stream = std::fs::File::open(file).expect("bundle");
        let run = import.args(["-"]).stdin(stream).run();
        assert!([4, 5].contains(&run.code), "{}: {}", run.code, run.stderr);
        gap.world.at("list", &empty).run().expect(1);
        std::fs::remove_dir_all(&empty).expect("remove");
    }
    gap.assert_stands();
}

#[test]
fn a_blob_whose_name_is_not_its_digest() {
    let gap = Gap::set();
    for number in 2..bundle(&gap).0.len() {
        let mut bad = bundle(&gap);
        let Some(byte) = bad.0[number].bytes.last_mut() else {
            continue;
        };
        *byte ^= 1;
        if bad.0[number].bytes.len() == 2 {
            // The empty config is known without being read.
            continue;
        }
        gap.put("bad.tar", &bad.tar());
        // One that has none of it: what is held is not read again.
        let empty = gap.world.dir().join("empty");
        let run = gap.world.import_to(&empty, &["bad.tar"]).run().expect(4);
        assert!(run.stderr.contains("is not what "), "{}", run.stderr);
        gap.world.at("list", &empty).run().expect(1);
        gap.world.verify().args([gap.world.dir().join("bad.tar")]).run().expect(4);
    }
    gap.assert_stands();
}

#[test]
fn newer_formats() {
    let gap = Gap::set();
    for (name, from, to, code) in [
        ("index.json", r#""dev.maas-mirror.bundle":"1""#, r#""dev.maas-mirror.bundle":"2""#, 5),
        ("index.json", r#""dev.maas-mirror.bundle":"1""#, r#""dev.maas-mirror.bundle":"x""#, 5),
        ("oci-layout", "1.0.0", "2.0.0", 4),
    ] {
        let mut bad = bundle(&gap);
        let entry = bad.0.iter_mut().find(|entry| entry.name == name).expect("entry");
        entry.bytes =
            String::from_utf8(entry.bytes.clone()).expect("text").replace(from, to).into();
        let stderr = gap.refuses(&bad.tar(), code);
        if code == 5 {
            assert!(stderr.contains("knows formats up to 1"), "{stderr}");
            assert!(stderr.contains("hint: use the maas-mirror that made it"), "{stderr}");
        }
    }
    gap.assert_stands();
}

/// An image of something else, and things that are no bundle at all.
#[test]
fn what_is_no_bundle() {
    let gap = Gap::set();
    let mut other = bundle(&gap);
    other.replace(r#""dev.maas-mirror.kind":"snapshot""#, r#""dev.maas-mirror.kind":"sausages""#);
    let stderr = gap.refuses(&other.tar(), 4);
    assert!(stderr.contains("no snapshot of maas-mirror"), "{stderr}");
    for bytes in [&b""[..], b"x", b"hello, world\n", &[0; 4096], &[b'x'; 4096]] {
        gap.refuses(bytes, 4);
    }
    gap.refuses(&write_tar(&[]), 4);
    gap.refuses(
        &write_tar(&[TarEntry::file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)]),
        4,
    );
    gap.world.import_to(&gap.there, &["nowhere.tar"]).run().expect(1);
    gap.assert_stands();
}
