"""A bundle's way over the air gap, with python-simplestreams as the client at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

import peers
import servers
from matrix import Case
from peers import Word
from servers import Server
from streams import Stream
from test_clients import SELECTIONS, assert_same_tree, sstream_mirror

EVERYTHING = ("--max-versions", "all", "path~.")


@pytest.fixture(scope="module")
def carried(stream: Stream, upstream: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was filled by parts of a bundle and by a delta in parts on top of it."""
    home = tmp_path_factory.mktemp("bundles")
    keyring: list[Word] = ["--keyring", stream.keyring]
    here: list[Word] = ["--store", home / "here"]
    there: list[Word] = ["--store", home / "there"]
    run("sync", *here, "--upstream", upstream.url, *keyring, *EVERYTHING)
    base, delta = home / "base.tar", home / "delta.tar"
    run("export", base, *here, *keyring, "--release", "xenial", "--split", "1MB")
    # A base is named by the snapshot that the other side has: by any bundle of it.
    whole = home / "whole.tar"
    run("export", whole, *here, *keyring, "--release", "xenial")
    run("export", delta, *here, "--since", whole, "--split", "1MB")
    parts = sorted(home.glob("base.*-of-*.tar"), reverse=True)
    assert len(parts) > 1
    for part in parts[:-1]:
        assert peers.run([peers.maas_mirror(), "import", part, *there, *keyring]).code == 3
    run("import", parts[-1], *there, *keyring)
    deltas = sorted(home.glob("delta.*-of-*.tar"), reverse=True)
    assert len(deltas) > 1
    run("import", *deltas, *there, *keyring)
    run("verify", *there, *keyring)
    return home / "there"


def run(verb: str, *words: Word) -> None:
    peers.run([peers.maas_mirror(), verb, *words]).check()


@pytest.mark.parametrize("selection", [*SELECTIONS, "everything"])
def test_mirror_of_what_was_carried_is_the_mirror_of_upstream(
    stream: Stream, upstream: Server, carried: Path, tmp_path: Path, selection: str
) -> None:
    case = SELECTIONS.get(selection, Case(("path~.",), None))
    with servers.serve_mirror(carried, tmp_path) as server:
        sstream_mirror(upstream.url, stream.keyring, tmp_path / "theirs", case)
        sstream_mirror(server.url + "images/", stream.keyring, tmp_path / "ours", case)
    assert_same_tree(tmp_path / "ours", tmp_path / "theirs")
