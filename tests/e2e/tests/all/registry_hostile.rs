//! Registries that lie: a folder served as one, and what its server does wrong.

use e2e::{Mirror, World, blobs_in, sha256};
use fixtures::Fault;
use serde_json::{Value, json};

const NAME: &str = "v2/maas";

/// A sync from the world's own server, as if it were a registry.
fn sync(world: &World) -> Mirror {
    let address = world.server.address().to_string();
    world.sync_from(&format!("oci://{address}/maas")).args(["--plain-http"])
}

/// Puts a manifest where it is named by its digest; returns its descriptor.
fn put(world: &World, manifest: &Value) -> Value {
    let bytes = manifest.to_string().into_bytes();
    let digest = format!("sha256:{}", sha256(&bytes));
    world.put(&format!("{NAME}/manifests/{digest}"), &bytes);
    json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": bytes.len(),
        "annotations": { "dev.maas-mirror.kind": "metadata" },
    })
}

/// A manifest of one file.
fn manifest(title: &str, content: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.simplestreams.metadata.v1",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": format!("sha256:{}", sha256(b"{}")),
            "size": 2,
        },
        "layers": [{
            "mediaType": "application/octet-stream",
            "digest": format!("sha256:{}", sha256(content)),
            "size": content.len(),
            "annotations": { "org.opencontainers.image.title": title },
        }],
    })
}

/// Tags an index of these manifests.
fn tag(world: &World, manifests: &[Value]) {
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
        "annotations": { "dev.maas-mirror.kind": "snapshot" },
    });
    put_tagged(world, index.to_string().as_bytes());
}

fn put_tagged(world: &World, bytes: &[u8]) {
    world.put(&format!("{NAME}/manifests/current"), bytes);
}

/// Nothing was taken, and the store is as good as new.
#[track_caller]
fn refused(world: &World, code: i32, says: &str) {
    let run = sync(world).run().expect(code);
    assert!(run.stderr.contains(says), "{}", run.stderr);
    assert!(blobs_in(&world.store()).is_empty());
    world.sync().run().expect(0);
    world.verify().run().expect(0);
}

#[test]
fn an_index_without_end() {
    let world = World::new();
    put_tagged(&world, &vec![b' '; 5 * 1024 * 1024]);
    refused(&world, 1, "larger than the 4194304 bytes");
}

#[test]
fn an_index_that_never_ends() {
    let world = World::new();
    put_tagged(&world, b"{}");
    world.server.fault(Fault::on("manifests/current").endless());
    refused(&world, 1, "larger than the 4194304 bytes");
}

#[test]
fn manifests_that_would_fill_the_memory() {
    let world = World::new();
    let manifest = |number: u32| {
        let digest = format!("sha256:{}", sha256(&number.to_be_bytes()));
        json!({ "mediaType": "a/b", "digest": digest, "size": 4 * 1024 * 1024 })
    };
    tag(&world, &(0..17).map(manifest).collect::<Vec<_>>());
    refused(&world, 1, "larger than any snapshot's");
    assert_eq!(world.server.count(&format!("{NAME}/manifests/current")), 2);
}

#[test]
fn a_size_past_every_limit() {
    let world = World::new();
    let digest = format!("sha256:{}", sha256(b"x"));
    tag(&world, &[json!({ "mediaType": "a/b", "digest": digest, "size": u64::MAX })]);
    refused(&world, 1, "larger than any snapshot's");
}

#[test]
fn a_manifest_under_the_digest_of_another() {
    let world = World::new();
    let descriptor = put(&world, &manifest("streams/v1/index.sjson", b"x"));
    let digest = descriptor["digest"].as_str().expect("digest").to_owned();
    let size = usize::try_from(descriptor["size"].as_u64().expect("size")).expect("size");
    world.put(&format!("{NAME}/manifests/{digest}"), &vec![b' '; size]);
    tag(&world, &[descriptor]);
    refused(&world, 4, "other content than its digest says");
}

#[test]
fn a_manifest_longer_than_the_index_says() {
    let world = World::new();
    let mut descriptor = put(&world, &manifest("streams/v1/index.sjson", b"x"));
    descriptor["size"] = json!(10);
    tag(&world, &[descriptor]);
    refused(&world, 1, "larger than the 10 bytes");
}

#[test]
fn a_title_that_leads_outside() {
    for title in ["../../etc/passwd", "/etc/passwd", "a/%2e%2e/b", "a\u{1b}[2J", ""] {
        let world = World::new();
        let descriptor = put(&world, &manifest(title, b"x"));
        tag(&world, &[descriptor]);
        let run = sync(&world).run().expect(1);
        assert!(run.stderr.contains("is not a snapshot of maas-mirror"), "{}", run.stderr);
        assert!(!run.stderr.contains('\u{1b}'));
        assert!(blobs_in(&world.store()).is_empty());
    }
}

#[test]
fn one_path_with_two_contents() {
    let world = World::new();
    let path = "streams/v1/index.sjson";
    let one = put(&world, &manifest(path, b"one"));
    let two = put(&world, &manifest(path, b"two"));
    tag(&world, &[one, two]);
    refused(&world, 1, "twice, with different content");
}

#[test]
fn a_snapshot_without_an_index() {
    let world = World::new();
    let descriptor = put(&world, &manifest("some/file", b"x"));
    tag(&world, &[descriptor]);
    refused(&world, 1, "does not hold streams/v1/index.sjson");
}

#[test]
fn a_signed_file_that_is_not_signed() {
    let world = World::new();
    let text: &[u8] = br#"{"format":"index:1.0","index":{}}"#;
    let descriptor = put(&world, &manifest("streams/v1/index.sjson", text));
    world.put(&format!("{NAME}/blobs/sha256:{}", sha256(text)), text);
    tag(&world, &[descriptor]);
    refused(&world, 4, "streams/v1/index.sjson");
}

#[test]
fn no_registry_at_all() {
    for answer in ["<html>log in</html>", "hello", "[]", "{\"schemaVersion\":2}", "null", ""] {
        let world = World::new();
        put_tagged(&world, answer.as_bytes());
        let run = sync(&world).run().expect(1);
        assert!(run.stderr.contains("hint: "), "{}", run.stderr);
        assert!(blobs_in(&world.store()).is_empty());
    }
}

/// A tag that claims to name an image that the store holds: hundreds of megabytes are not read
/// into memory to find that they are no index.
#[test]
fn a_tag_that_names_an_image_of_ours() {
    let (world, held) = World::held();
    let large = world.dir().join("store/blobs/sha256").join(sha256(b"large"));
    let file = std::fs::File::create(&large).expect("blob");
    file.set_len(5 * 1024 * 1024).expect("length");
    let zeros = sha256(&vec![0; 5 * 1024 * 1024]);
    std::fs::rename(&large, large.with_file_name(&zeros)).expect("name");
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDocker-Content-Digest: sha256:{zeros}\r\n\r\n"
    );
    world.server.fault(Fault::on("manifests/current").raw(answer));
    let run = sync(&world).run().expect(1);
    assert!(run.stderr.contains("does not exist"), "{}", run.stderr);
    held.assert_stands(&world);
}

#[test]
fn trouble_that_passes_is_waited_for() {
    let world = World::new();
    put_tagged(&world, b"{}");
    world.server.fault(Fault::on("manifests/current").status(503).times(2));
    let run = sync(&world).args(["--retries", "2"]).run().expect(1);
    assert!(run.stderr.contains("is not a snapshot"), "{}", run.stderr);
    assert_eq!(world.server.count(&format!("{NAME}/manifests/current")), 4);
}

/// A token that no header can hold, and one that is no JSON: errors, no panic.
#[test]
fn a_token_service_that_lies() {
    for token in [r#"{"token":"a\r\nX: b"}"#, "secret garbage", "{}"] {
        let world = World::new();
        let address = world.server.address();
        let challenge = format!(
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\
             WWW-Authenticate: Bearer realm=\"http://{address}/token\",service=\"s\"\r\n\r\n"
        );
        world.server.fault(Fault::on("v2/*").raw(challenge));
        world.put("token", token.as_bytes());
        let auth = world.dir().join("auth.json");
        std::fs::write(&auth, "{}").expect("write");
        let run = sync(&world).env("REGISTRY_AUTH_FILE", &auth).run().expect(1);
        assert!(run.stderr.contains("hint: "), "{}", run.stderr);
        assert!(
            !run.stderr.contains("panicked") && !run.stderr.contains("garbage"),
            "{}",
            run.stderr
        );
        world.server.clear_faults();
        world.sync().run().expect(0);
    }
}
