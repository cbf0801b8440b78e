//! Bundles of anybody's making.

use e2e::{TarEntry, read_tar, tar_header, write_tar};
use oci::digest::Digest;
use serde_json::{Value, json};

use super::site::{Site, digest};
use crate::support::Job;

/// A bundle that is taken apart, and put together again with something wrong.
struct Broken {
    entries: Vec<TarEntry>,
}

impl Broken {
    fn new(bytes: &[u8]) -> Self {
        Self { entries: read_tar(bytes) }
    }

    fn entry(&mut self, name: &str) -> &mut TarEntry {
        self.entries.iter_mut().find(|entry| entry.name == name).expect("an entry")
    }

    fn json(&mut self, name: &str) -> Value {
        serde_json::from_slice(&self.entry(name).bytes).expect("JSON")
    }

    /// Changes `index.json`, and leaves out the list, which would say otherwise.
    fn index(mut self, change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut index = self.json("index.json");
        change(&mut index);
        self.entry("index.json").bytes = index.to_string().into_bytes();
        self.entries.retain(|entry| entry.name != "bundle.json");
        write_tar(&self.entries)
    }

    /// Changes the manifest that the `at`-th entry leads to, whose digest is made
    /// to hold.
    fn manifest(mut self, at: usize, change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let index = self.json("index.json");
        let name = blob_name(index["manifests"][at]["digest"].as_str().unwrap());
        let mut manifest = self.json(&name);
        change(&mut manifest);
        let bytes = manifest.to_string().into_bytes();
        let new = Digest::of(&bytes);
        *self.entry(&name) = TarEntry::file(&format!("blobs/sha256/{new}"), &bytes);
        self.index(|index| {
            index["manifests"][at]["digest"] = json!(new);
            index["manifests"][at]["size"] = json!(bytes.len());
        })
    }
}

fn blob_name(digest: &str) -> String {
    digest.replace("sha256:", "blobs/sha256/")
}

/// The digest of the layer of the `at`-th image.
fn layer(bytes: &[u8], at: usize) -> String {
    let mut broken = Broken::new(bytes);
    let index = broken.json("index.json");
    let manifest = blob_name(index["manifests"][at]["digest"].as_str().unwrap());
    broken.json(&manifest)["layers"][0]["digest"].as_str().unwrap().to_owned()
}

/// What each is called, what the message says, and the bundle.
type Case = (&'static str, &'static str, Vec<u8>);

/// Archives that are none, and layouts that are not whole.
fn archives(bytes: &[u8]) -> Vec<Case> {
    let broken = || Broken::new(bytes);
    let with = |entry: TarEntry| {
        let mut broken = broken();
        broken.entries.push(entry);
        write_tar(&broken.entries)
    };
    let without = |name: &str| {
        let mut broken = broken();
        broken.entries.retain(|entry| entry.name != name);
        write_tar(&broken.entries)
    };
    let the_layer = layer(bytes, 0);
    let huge = {
        // A header that says more than the file has.
        let mut cut = write_tar(&broken().entries);
        cut.truncate(cut.len() - 1024);
        cut.extend(tar_header(&format!("blobs/sha256/{}", "0".repeat(64)), b'0', b"77777777777\0"));
        cut
    };
    vec![
        ("cut", "it was cut short", bytes[..bytes.len() - 4096].to_vec()),
        ("cut-in-half", "it was cut short", bytes[..bytes.len() / 2].to_vec()),
        ("empty", "it was cut short", Vec::new()),
        ("text", "it is not a tar archive", b"no archive, but quite some text".repeat(100)),
        ("size", "it was cut short", huge),
        ("twice", "it is there twice", with(broken().entries.pop().unwrap())),
        ("escape", "no file of that name", with(TarEntry::file("../escape", b"x"))),
        ("absolute", "no file of that name", with(TarEntry::file("/etc/passwd", b"x"))),
        ("link", "it is a link", with(TarEntry::other("blobs/sha256/link", b'2'))),
        ("device", "it is a device", with(TarEntry::other("dev", b'3'))),
        ("long", "longer than any", with(TarEntry::other("long", b'L'))),
        ("no-layout", "it has no oci-layout", without("oci-layout")),
        ("no-index", "it has no index.json", without("index.json")),
        ("no-layer", "it does not hold", without(&blob_name(&the_layer))),
        ("not-json", "its index.json cannot be read", {
            let mut broken = broken();
            broken.entry("index.json").bytes = b"{".to_vec();
            write_tar(&broken.entries)
        }),
        ("foreign", "maas-deployer bundle did not write it", {
            broken().index(|index| drop(index.as_object_mut().unwrap().remove("annotations")))
        }),
        ("deep", "its index.json cannot be read", {
            let mut broken = broken();
            broken.entry("index.json").bytes = "[".repeat(100_000).into_bytes();
            write_tar(&broken.entries)
        }),
        ("manifest", "is not what its digest says", {
            let mut broken = broken();
            let index = broken.json("index.json");
            let name = blob_name(index["manifests"][0]["digest"].as_str().unwrap());
            broken.entry(&name).bytes[3] ^= 1;
            write_tar(&broken.entries)
        }),
    ]
}

/// Descriptions that contradict themselves, or lead elsewhere.
fn descriptions(bytes: &[u8]) -> Vec<Case> {
    let broken = || Broken::new(bytes);
    let long = "a".repeat(300);
    vec![
        ("list", "its bundle.json says otherwise", {
            let mut broken = broken();
            let mut list = broken.json("bundle.json");
            list["images"][0]["digest"] = json!(Digest::of(b"other"));
            broken.entry("bundle.json").bytes = list.to_string().into_bytes();
            write_tar(&broken.entries)
        }),
        ("manifest-size", "has another length", {
            broken().index(|index| index["manifests"][0]["size"] = json!(7))
        }),
        ("huge-manifest", "are too large", {
            broken().index(|index| index["manifests"][0]["size"] = json!(5_000_000_000_u64))
        }),
        ("other-kind", "is of another kind than its index says", {
            broken().index(|index| index["manifests"][0]["mediaType"] = json!(oci::layout::INDEX))
        }),
        ("unknown-kind", "is of a kind that is not known", {
            broken().index(|index| {
                index["manifests"][0]["annotations"]["dev.maas-deployer.kind"] = json!("x");
            })
        }),
        ("name-escape", "is no image's name", named(broken(), "../../etc:1")),
        ("name-url", "is no image's name", named(broken(), "a/b?x=y:1")),
        ("name-long", "is no image's name", named(broken(), &format!("{long}:1"))),
        ("name-none", "is no image's name", named(broken(), "")),
        ("name-digest", "has another digest", {
            named(broken(), &format!("a@{}", Digest::of(b"other").to_oci()))
        }),
        ("name-twice", "twice", {
            broken().index(|index| {
                let first = index["manifests"][0].clone();
                index["manifests"].as_array_mut().unwrap().push(first);
            })
        }),
        ("many", "it has more than 1000 images", {
            broken().index(|index| {
                let first = index["manifests"][0].clone();
                index["manifests"] = vec![first; 1001].into();
            })
        }),
    ]
}

/// Manifests whose digests hold.
fn manifests(bytes: &[u8]) -> Vec<Case> {
    let broken = || Broken::new(bytes);
    vec![
        ("layer-size", "has another length", {
            broken().manifest(0, |manifest| manifest["layers"][0]["size"] = json!(1))
        }),
        ("layer-negative", "cannot be read", {
            broken().manifest(0, |manifest| manifest["layers"][0]["size"] = json!(-1))
        }),
        ("layer-sha512", "cannot be read", {
            broken().manifest(0, |manifest| {
                manifest["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
            })
        }),
        ("schema-1", "schema version 1", {
            broken().manifest(0, |manifest| manifest["schemaVersion"] = json!(1))
        }),
        ("both", "neither an image nor an index", {
            broken().manifest(0, |manifest| manifest["manifests"] = json!([]))
        }),
        ("file-escape", "cannot be the name of a file", {
            broken().manifest(5, |manifest| {
                let title = "org.opencontainers.image.title";
                manifest["layers"][0]["annotations"][title] = json!("../../etc/cron.d/x");
            })
        }),
        ("file-several", "is not one file", {
            broken().manifest(5, |manifest| {
                let first = manifest["layers"][0].clone();
                manifest["layers"].as_array_mut().unwrap().push(first);
            })
        }),
    ]
}

#[test]
fn what_does_not_hold_is_refused_before_anything_is_sent() {
    let site = Site::new();
    let bytes = std::fs::read(site.made("good.tar")).unwrap();
    let (path, out) = (site.path("broken.tar"), site.path("out"));
    let cases = [archives(&bytes), descriptions(&bytes), manifests(&bytes)];
    for (what, says, bytes) in cases.into_iter().flatten() {
        std::fs::write(&path, bytes).unwrap();
        let file = path.display().to_string();
        let out = out.display().to_string();
        for args in [&["inspect", &file][..], &["unpack", &file, &out]] {
            let run = Job::verb(&[&["bundle"], args].concat()).run();
            assert_eq!(run.code, 4, "{what}: {}", run.stderr);
            assert!(run.stderr.contains(says), "{what}: {}", run.stderr);
        }
        let run = site.push(&path, "x", &[]).run();
        assert_eq!(run.code, 4, "{what}: {}", run.stderr);
    }
    assert_eq!(site.to.count(0, "POST", "/v2/") + site.to.count(0, "PUT", "/v2/"), 0);
    assert!(!out.exists());
}

fn named(broken: Broken, name: &str) -> Vec<u8> {
    broken.index(|index| {
        let notes = &mut index["manifests"][0]["annotations"];
        notes["org.opencontainers.image.ref.name"] = json!(name);
    })
}

#[test]
fn a_damaged_layer_keeps_its_own_image_back_and_no_other() {
    let site = Site::new();
    let path = site.made("b.tar");
    let bytes = std::fs::read(&path).unwrap();
    let name = blob_name(&layer(&bytes, 0));
    let mut broken = Broken::new(&bytes);
    *broken.entry(&name).bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, write_tar(&broken.entries)).unwrap();
    let file = path.display().to_string();
    // What describes it holds; its content does not.
    Job::verb(&["bundle", "inspect", &file]).run().expect(0);
    let stored = name.replace("blobs/sha256/", "");
    let verify = Job::verb(&["bundle", "inspect", &file, "--verify"]).named(file, "FILE");
    verify.named(&stored, "HEX").run().failed(4, "bundle-damaged");
    let push = site.push(&path, "x", &[]).named(&stored, "HEX");
    push.run().failed(4, "bundle-push-damaged");
    assert!(!site.to.stored(&stored).exists());
    let (first, others) = site.images.split_first().unwrap();
    let (repository, _) = first.split_once(':').unwrap();
    assert_eq!(site.to.count(0, "PUT", &format!("/v2/x/{repository}/manifests/")), 0);
    for image in others {
        let original = digest(site.from.address(), &format!("boot/{image}"));
        assert_eq!(digest(site.to.address(), &format!("x/{image}")), original);
    }
}

/// A bundle may lie there as a folder, unpacked by `tar` or written by skopeo: there is no list of
/// its files then but what describes it.
#[test]
fn in_a_folder_every_digest_is_judged_too() {
    let site = Site::new();
    let bytes = std::fs::read(site.made("b.tar")).unwrap();
    let folder = site.path("folder");
    std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
    for entry in read_tar(&bytes).iter().filter(|entry| !entry.name.ends_with('/')) {
        std::fs::write(folder.join(&entry.name), &entry.bytes).unwrap();
    }
    let file = folder.display().to_string();
    let verify = || Job::verb(&["bundle", "inspect", &file, "--verify"]).run();
    assert!(verify().expect(0).stdout.contains("every digest holds"));
    let mut broken = Broken::new(&bytes);
    let list = broken.json("bundle.json");
    let program = blob_name(list["files"][0]["digest"].as_str().unwrap());
    let chart = blob_name(list["chart"]["digest"].as_str().unwrap());
    for name in [blob_name(&layer(&bytes, 0)), chart, program] {
        let good = std::fs::read(folder.join(&name)).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        std::fs::write(folder.join(&name), bad).unwrap();
        let run = verify().expect(4);
        assert!(run.message().contains("1 of its files are not what"), "{name}: {}", run.message());
        std::fs::write(folder.join(&name), good).unwrap();
    }
}

#[test]
fn a_damaged_program_is_not_unpacked() {
    let site = Site::new();
    let path = site.made("b.tar");
    let bytes = std::fs::read(&path).unwrap();
    let mut broken = Broken::new(&bytes);
    let list = broken.json("bundle.json");
    let name = blob_name(list["files"][0]["digest"].as_str().unwrap());
    broken.entry(&name).bytes[100] ^= 1;
    std::fs::write(&path, write_tar(&broken.entries)).unwrap();
    let (file, out) = (path.display().to_string(), site.path("out"));
    let run = Job::verb(&["bundle", "unpack", &file, &out.display().to_string()]).run().expect(4);
    assert!(run.message().contains("is not what its digest says"), "{}", run.message());
    assert_eq!(std::fs::read_dir(out.join("bin")).unwrap().count(), 0);
}

#[test]
fn a_newer_format_is_told_as_such() {
    let site = Site::new();
    let path = site.made("b.tar");
    let bytes = std::fs::read(&path).unwrap();
    let newer = Broken::new(&bytes).index(|index| {
        index["annotations"]["dev.maas-deployer.bundle"] = json!("2");
    });
    std::fs::write(&path, newer).unwrap();
    let file = path.display().to_string();
    Job::verb(&["bundle", "inspect", &file]).named(file, "FILE").run().failed(5, "bundle-newer");
}

#[test]
fn terminals_are_not_steered() {
    let site = Site::new();
    let path = site.made("b.tar");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, named(Broken::new(&bytes), "a\u{1b}[2Jb:1")).unwrap();
    let file = path.display().to_string();
    let run = Job::verb(&["bundle", "inspect", &file]).run().expect(4);
    assert!(!run.stderr.contains('\u{1b}'), "{:?}", run.stderr);
}
