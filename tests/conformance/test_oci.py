"""A store is an OCI image layout: skopeo copies it to a registry and back unchanged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import peers
import servers
import streams
from peers import Word
from servers import Server
from streams import Stream

NAME = "maas-images:current"
LARGEST_MANIFEST = 4 * 2**20
MOST_LAYERS = 100


@dataclass(frozen=True)
class Snapshot:
    """A store, and how many items its snapshot has."""

    store: Path
    items: int


@dataclass(frozen=True)
class Pushed:
    """A snapshot that skopeo copied to a registry, and the requests that took."""

    snapshot: Snapshot
    image: str
    requests: int


@pytest.fixture(scope="module")
def small(stream: Stream, upstream: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    work = tmp_path_factory.mktemp("small")
    with push(sync(stream, upstream, work / "store"), work) as pushed:
        yield pushed


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    with push_of_size(1000, tmp_path_factory.mktemp("thousand")) as pushed:
        yield pushed


@pytest.fixture(scope="module")
def two_thousand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    with push_of_size(2000, tmp_path_factory.mktemp("two-thousand")) as pushed:
        yield pushed


@pytest.mark.parametrize("size", ["small", "two_thousand"])
def test_to_a_registry_and_back(size: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pushed: Pushed = request.getfixturevalue(size)
    store = pushed.snapshot.store
    published = current_digest(store)
    assert digest(inspect(f"oci:{store}:current")) == published
    assert digest(inspect(pushed.image)) == published

    archive = f"oci-archive:{tmp_path / 'bundle.tar'}:current"
    copy(pushed.image, archive, tmp_path)
    assert digest(inspect(archive)) == published

    copy(archive, f"oci:{tmp_path / 'back'}:current", tmp_path)
    assert current_digest(tmp_path / "back") == published
    assert blobs_reached(tmp_path / "back") == blobs_reached(store)


def test_large_snapshots_have_the_items_they_should(thousand: Pushed, two_thousand: Pushed) -> None:
    assert 1000 <= thousand.snapshot.items < 1100
    assert 2000 <= two_thousand.snapshot.items < 2100


@pytest.mark.parametrize("size", ["small", "two_thousand"])
def test_no_manifest_is_large(size: str, request: pytest.FixtureRequest) -> None:
    """skopeo's time is quadratic in the layers of one manifest; registries refuse above 4 MiB."""
    store = request.getfixturevalue(size).snapshot.store
    index = blob(store, current_digest(store))
    assert len(index) < LARGEST_MANIFEST
    for entry in json.loads(index)["manifests"]:
        manifest = blob(store, entry["digest"])
        assert len(manifest) < LARGEST_MANIFEST
        assert len(json.loads(manifest)["layers"]) <= MOST_LAYERS


def test_twice_the_items_take_about_twice_the_requests(thousand: Pushed, two_thousand: Pushed) -> None:
    assert thousand.requests > thousand.snapshot.items
    assert two_thousand.requests <= 2.5 * thousand.requests


@contextmanager
def push_of_size(items: int, work: Path) -> Iterator[Pushed]:
    stream = streams.make(work / "tree", "--items", str(items))
    with servers.serve_tree(stream.root, work) as upstream:
        snapshot = sync(stream, upstream, work / "store")
    with push(snapshot, work) as pushed:
        yield pushed


@contextmanager
def push(snapshot: Snapshot, work: Path) -> Iterator[Pushed]:
    """Copies a snapshot to a registry of its own, which runs as long as it is used."""
    with servers.serve_registry(work) as registry:
        image = "docker://" + registry.url.removeprefix("http://") + NAME
        before = requests_in(registry.log)
        copy(f"oci:{snapshot.store}:current", image, work)
        yield Pushed(snapshot, image, requests_in(registry.log) - before)


def requests_in(access_log: Path) -> int:
    return sum('HTTP/1.1" ' in line for line in access_log.read_text().splitlines())


def sync(stream: Stream, upstream: Server, store: Path) -> Snapshot:
    source: list[Word] = ["--store", store, "--upstream", upstream.url, "--keyring", stream.keyring]
    peers.run([peers.maas_mirror(), "sync", *source, "--max-versions", "all", "path~."]).check()
    return Snapshot(store, len(items_of(store)))


def items_of(store: Path) -> set[str]:
    """The served paths of a snapshot, without its metadata files."""
    index = json.loads(blob(store, current_digest(store)))
    layers = [layer for entry in index["manifests"] for layer in json.loads(blob(store, entry["digest"]))["layers"]]
    titles = {layer["annotations"]["org.opencontainers.image.title"] for layer in layers}
    return {title for title in titles if not title.startswith("streams/")}


def inspect(image: str) -> bytes:
    options = ["--raw"] + (["--tls-verify=false"] if image.startswith("docker:") else [])
    return skopeo("inspect", *options, image)


def copy(source: str, target: str, work: Path) -> None:
    options = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    skopeo("--tmpdir", str(work), "copy", "--quiet", "--all", *options, source, target)


def skopeo(*words: str) -> bytes:
    return peers.run([peers.debian("skopeo"), "--insecure-policy", *words]).check().stdout


def current_digest(store: Path) -> str:
    manifests: list[dict[str, Any]] = json.loads((store / "index.json").read_text())["manifests"]
    tag = "org.opencontainers.image.ref.name"
    found = [entry["digest"] for entry in manifests if entry.get("annotations", {}).get(tag) == "current"]
    assert len(found) == 1, "one snapshot is tagged `current`"
    return str(found[0])


def blobs_reached(store: Path) -> set[str]:
    """Every digest that the current snapshot names; each blob is there and is what it says."""
    index = current_digest(store)
    manifests = [entry["digest"] for entry in json.loads(blob(store, index))["manifests"]]
    parts = [json.loads(blob(store, manifest)) for manifest in manifests]
    layers = {layer["digest"] for part in parts for layer in [*part["layers"], part["config"]]}
    for name in layers:
        blob(store, name)
    return {index, *manifests, *layers}


def blob(store: Path, name: str) -> bytes:
    algorithm, value = name.split(":")
    content = (store / "blobs" / algorithm / value).read_bytes()
    assert digest(content) == name
    return content


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
