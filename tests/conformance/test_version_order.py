"""A known difference: which of `20210928.9` and `20210928.10` is the newest.

`sstream-mirror` sorts version names as plain text, so it takes `.9`. We compare
the parts as numbers, so `.10`, which was published later, is the newest.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import reference
import servers
from matrix import Case
from reference import ParsedReader
from streams import Signer, Stream, item, write
from test_filters import ours, printed_items, program

VERSIONS = ("20210928", "20210928.2", "20210928.9", "20210928.10")
FILTERS = ("ftype=squashfs",)


@pytest.fixture(scope="module")
def stream_of_versions(signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    root = tmp_path_factory.mktemp("versions") / "tree"
    versions = {name: {"items": {"squashfs": item(root, f"p/{name}/squashfs", "squashfs")}} for name in VERSIONS}
    return write(root, signer, {"com.example:versions": {"products": {"p": {"versions": versions}}}})


@pytest.mark.parametrize(
    ("limit", "theirs", "ours_too"),
    [
        (1, ["20210928.9"], ["20210928.10"]),
        (2, ["20210928.2", "20210928.9"], ["20210928.10", "20210928.9"]),
        (None, sorted(VERSIONS), sorted(VERSIONS)),
    ],
    ids=["newest", "two newest", "all"],
)
def test_newest_version(
    stream_of_versions: Stream, tmp_path: Path, limit: int | None, theirs: list[str], ours_too: list[str]
) -> None:
    stream, case = stream_of_versions, Case(FILTERS, limit)
    with servers.serve_tree(stream.root, tmp_path) as upstream:
        printed = program(upstream.url, stream.keyring, case, tmp_path).check().stderr
        selected = ours(upstream.url, stream.keyring, case, tmp_path)
    assert [path for path, _ in printed_items(printed)] == paths(theirs)
    assert [path for path, _ in selected] == paths(ours_too)
    reader = ParsedReader(stream.root, stream.keyring)
    assert sorted(path for path, _ in reference.select(reader, tmp_path, FILTERS, limit)) == paths(theirs)


def paths(versions: list[str]) -> list[str]:
    return sorted(f"p/{name}/squashfs" for name in versions)
