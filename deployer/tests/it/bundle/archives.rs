//! Images out of files, as `make images` and others write them; boot images.

use super::site::{Layout, Site, VALUES, copy, digest, skopeo};
use crate::support::Job;

/// A bundle whose images are all of files.
fn from_files(site: &Site, args: &[&str]) -> Job {
    let file = site.path("b.tar").display().to_string();
    let job = Job::verb(
        &[&["bundle", &file, "--retries", "0", "--no-program"], &VALUES[..], args].concat(),
    );
    job.named(site.folder.path().display().to_string(), "FOLDER")
}

#[test]
fn images_come_from_archives_of_all_kinds() {
    let site = Site::new();
    let from = |image: &str| format!("docker://{}/boot/{image}", site.from.address());
    let path = |name: &str| site.path(name).display().to_string();
    let [deployer, rack, region, postgres] = site.images.as_slice() else { panic!() };
    let tls = "--src-tls-verify=false";
    // docker-archive, named; oci-archive, given for an image; a layout in a folder.
    let docker = path("deployer.tar");
    skopeo(&["copy", tls, &from(deployer), &format!("docker-archive:{docker}:{deployer}")]);
    let (archive, folder) = (path("rack.tar"), path("region"));
    copy(&from(rack), &format!("oci-archive:{archive}"));
    copy(&from(region), &format!("oci:{folder}:any"));
    let index = path("postgres.tar");
    copy(&from(postgres), &format!("oci-archive:{index}:x"));
    let given = [
        docker.clone(),
        format!("{rack}={archive}"),
        format!("{region}={folder}"),
        format!("{postgres}={index}"),
    ];
    let args: Vec<&str> = given.iter().flat_map(|it| ["--from-archive", it.as_str()]).collect();
    from_files(&site, &args).run().expect(0);
    let bundle = site.path("b.tar");
    site.push(&bundle, "x", &[]).run().expect(0);
    for image in [rack, region, postgres] {
        let original = digest(site.from.address(), &format!("boot/{image}"));
        assert_eq!(digest(site.to.address(), &format!("x/{image}")), original, "{image}");
    }
    // Docker's archive has no manifest to be kept; its content is the same.
    let url = |registry: &str, image: &str| format!("docker://{registry}/{image}");
    let config = |url: &str| {
        let text = skopeo(&["inspect", "--config", "--tls-verify=false", url]);
        let config: serde_json::Value = serde_json::from_slice(&text).unwrap();
        config["rootfs"].clone()
    };
    let ours = config(&url(site.to.address(), &format!("x/{deployer}")));
    assert_eq!(ours, config(&from(deployer)));
    // And a runtime can unpack it: skopeo does, into a folder of files.
    let out = path("out");
    skopeo(&[
        "copy",
        tls,
        &url(site.to.address(), &format!("x/{deployer}")),
        &format!("dir:{out}"),
    ]);
    // A bundle is a file that images can be taken from.
    let again = path("again.tar");
    let bundle = bundle.display().to_string();
    let args = [&["bundle", &again, "--from-archive", &bundle], &VALUES[..]].concat();
    Job::verb(&args).run().expect(0);
}

#[test]
fn what_is_no_archive_of_the_releases_images_is_refused() {
    let site = Site::new();
    let mut layout = Layout::new();
    let image = layout.image("amd64", b"other");
    layout.name("other:1", oci::layout::MANIFEST, &image);
    let folder = layout.folder.path().display().to_string();
    let run = from_files(&site, &["--from-archive", &folder]);
    run.named(folder.clone(), "OTHER").run().failed(64, "bundle-archive-not-wanted");
    let given = format!("nothing:1={folder}");
    from_files(&site, &["--from-archive", &given]).run().failed(64, "bundle-no-such-image");
    // Several in one file, none of which is meant.
    layout.name("other:2", oci::layout::MANIFEST, &image);
    let given = format!("{}={folder}", site.images[0]);
    let run = from_files(&site, &["--from-archive", &given]).run().expect(5);
    assert!(
        run.message().contains("it holds other:1, other:2, and not this image"),
        "{}",
        run.message()
    );
    // No archives at all.
    let text = site.path("text");
    for (bytes, says) in [
        (b"not an archive at all".repeat(100), "it is not a tar archive"),
        (vec![0x1f, 0x8b, 8, 0], "unpack it with gunzip"),
        (e2e::write_tar(&[e2e::TarEntry::file("a", b"b")]), "it has no manifest.json"),
    ] {
        std::fs::write(&text, bytes).unwrap();
        let given = text.display().to_string();
        let run = from_files(&site, &["--from-archive", &given]).run().expect(5);
        assert!(run.message().contains(says), "{}", run.message());
    }
}

#[test]
fn a_docker_archive_whose_layer_is_not_what_its_config_says_is_refused() {
    let site = Site::new();
    let image = &site.images[0];
    let path = site.path("deployer.tar");
    let from = format!("docker://{}/boot/{image}", site.from.address());
    let to = format!("docker-archive:{}:{image}", path.display());
    skopeo(&["copy", "--src-tls-verify=false", &from, &to]);
    let mut entries = plain_files(&std::fs::read(&path).unwrap());
    let layer = entries.iter_mut().find(|entry| entry.name.ends_with(".tar")).unwrap();
    layer.bytes[600] ^= 1;
    std::fs::write(&path, e2e::write_tar(&entries)).unwrap();
    let given = format!("{image}={}", path.display());
    let file = site.path("b.tar");
    let run = site.make(&file, &["--from-archive", &given]).run().expect(4);
    assert!(run.message().contains("is not what its digest says"), "{}", run.message());
    assert!(!file.exists());
}

/// The regular files of an archive, links and folders left out.
fn plain_files(archive: &[u8]) -> Vec<e2e::TarEntry> {
    let entries = e2e::read_tar(archive);
    entries.into_iter().filter(|entry| entry.kind == b'0').collect()
}

#[test]
fn boot_images_and_programs_come_along_and_out_again() {
    let site = Site::new();
    let world = e2e::World::synced();
    world.export("first.tar").run().expect(0);
    let first = world.dir().join("first.tar");
    let program = e2e::binary().display().to_string();
    let bundle = site.path("b.tar");
    let first_name = first.display().to_string();
    let more = ["--mirror-bundle", &first_name, "--binary", &program];
    let file = bundle.display().to_string();
    let source = format!("{}/boot", site.from.address());
    let own = ["bundle", &file, "--plain-http", "--registry", &source];
    Job::verb(&[&own, &VALUES[..], &more].concat()).run().expect(0);
    let out = site.path("out");
    let folder = out.display().to_string();
    let run = Job::verb(&["bundle", "unpack", &file, &folder, "-o", "json"]).run().expect(0);
    assert_eq!(run.json()["files"].as_array().unwrap().len(), 6, "{}", run.stdout);
    let same = |one: &std::path::Path, other: &std::path::Path| {
        assert!(
            std::fs::read(one).unwrap() == std::fs::read(other).unwrap(),
            "{}",
            other.display()
        );
    };
    same(&first, &out.join("mirror/first.tar"));
    same(e2e::binary(), &out.join("bin/maas-mirror"));
    // The mirror takes it from there, and the programs run.
    let store = site.path("store");
    let imported = std::process::Command::new(out.join("bin/maas-mirror"))
        .args(["import", "--store"])
        .arg(&store)
        .args(world.keyring_args())
        .arg(out.join("mirror/first.tar"))
        .output()
        .unwrap();
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let version =
        std::process::Command::new(out.join("bin/maas-deployer")).arg("--version").output();
    assert!(version.unwrap().status.success());
    let readme = std::fs::read_to_string(out.join("README.md")).unwrap();
    assert!(readme.contains("maas-mirror import - < out/mirror/first.tar"), "{readme}");
    // Unpacked twice, it is the same.
    Job::verb(&["bundle", "unpack", &file, &folder]).run().expect(0);
    // Something else is no bundle of boot images.
    let more = ["--mirror-bundle", &file];
    let run = site.make(&site.path("c.tar"), &more).run().expect(5);
    assert!(run.message().contains("is no bundle of maas-mirror"), "{}", run.message());
}
