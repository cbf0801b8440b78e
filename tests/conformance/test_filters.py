"""`maas-mirror sync --dry-run` selects what `sstream-mirror --dry-run` selects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import matrix
import peers
import reference
import servers
from matrix import Case
from peers import Word
from reference import Item, ParsedReader
from servers import Server
from streams import Signer, Stream, Tree, item, write

GENERATED = matrix.cases(matrix.HAND_MADE) + matrix.drawn()
ODD = matrix.cases(matrix.ODD)
USAGE = 64


def names(cases: list[Case]) -> list[str]:
    return [f"{number:03}: {case}" for number, case in enumerate(cases)]


@pytest.fixture(scope="module")
def parsed(stream: Stream) -> ParsedReader:
    return ParsedReader(stream.root, stream.keyring)


@pytest.fixture(scope="module")
def odd_stream(signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    root = tmp_path_factory.mktemp("odd") / "tree"
    return write(root, signer, {"com.example:odd": odd_tree(root), "com.example:plain": plain_tree(root)})


@pytest.fixture(scope="module")
def odd_upstream(odd_stream: Stream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers.serve_tree(odd_stream.root, tmp_path_factory.mktemp("odd-upstream")) as server:
        yield server


@pytest.fixture(scope="module")
def odd_parsed(odd_stream: Stream) -> ParsedReader:
    return ParsedReader(odd_stream.root, odd_stream.keyring)


def odd_tree(root: Path) -> Tree:
    """Keys at every level, empty and padded values, numbers, lists, names that are computed."""
    at_item = item(root, "odd/1/a", "squashfs", level="item", count=7, ratio=1.5, note="")
    at_version = item(root, "odd/1/b", "root-image.gz", title="größe 1", list=["a"], nested={"a": "b"})
    at_product = item(root, "odd/2/a", "squashfs", note=" padded ", item_name="claimed")
    at_tree = item(root, "odd/3/a", "squashfs", empty="")
    first = {"level": "version", "items": {"a": at_item, "b": at_version}}
    second = {"items": {"a": at_product}}
    title = {"release_title": "16.04 LTS", "two-part-key": "yes", "a|b": "yes"}
    products = {
        "odd:1": title | {"level": "product", "versions": {"20210901": first, "20210902": second}},
        "odd:2": {"product_name": "claimed", "versions": {"20210901": {"items": {"a": at_tree}}}},
    }
    return {"level": "tree", "products": products}


def plain_tree(root: Path) -> Tree:
    versions = {
        name: {"items": {"a": item(root, f"plain/{name}/a", "squashfs")}}
        for name in ("20200101", "20210101", "20210201", "20210201.1")
    }
    return {"products": {"plain:1": {"versions": versions}}}


@pytest.mark.parametrize("case", GENERATED, ids=names(GENERATED))
def test_same_selection(
    case: Case, stream: Stream, upstream: Server, parsed: ParsedReader, tmp_path: Path
) -> None:
    theirs = reference.select(parsed, tmp_path, case.filters, case.limit)
    assert ours(upstream.url, stream.keyring, case, tmp_path) == once(theirs)


@pytest.mark.parametrize("case", ODD, ids=names(ODD))
def test_same_selection_of_odd_values(
    case: Case, odd_stream: Stream, odd_upstream: Server, odd_parsed: ParsedReader, tmp_path: Path
) -> None:
    theirs = reference.select(odd_parsed, tmp_path, case.filters, case.limit)
    assert ours(odd_upstream.url, odd_stream.keyring, case, tmp_path) == once(theirs)


@pytest.mark.parametrize("text", matrix.REFUSED)
def test_both_refuse(text: str, stream: Stream, upstream: Server, tmp_path: Path) -> None:
    assert program(upstream.url, stream.keyring, Case((text,), 1), tmp_path).code != 0
    assert dry_run(upstream.url, stream.keyring, Case((text,), 1), tmp_path).code == USAGE


def test_matrix_selects_something_and_nothing(parsed: ParsedReader, tmp_path: Path) -> None:
    """The comparison above is not one of empty lists, nor of whole streams."""
    sizes = [len(reference.select(parsed, tmp_path, case.filters, case.limit)) for case in GENERATED]
    everything = len(reference.select(parsed, tmp_path, [], None))
    assert sum(size == 0 for size in sizes) >= len(sizes) // 10
    assert sum(0 < size < everything for size in sizes) >= len(sizes) // 2


@pytest.mark.parametrize("case", [Case(("arch=amd64", "release~xenial"), 1), Case(("os!=centos",), None)], ids=str)
def test_reference_is_the_program(
    case: Case, stream: Stream, upstream: Server, parsed: ParsedReader, tmp_path: Path
) -> None:
    """What `reference.py` computes is what the true program prints."""
    printed = program(upstream.url, stream.keyring, case, tmp_path).check().stderr
    expected = reference.select(parsed, tmp_path, case.filters, case.limit)
    assert expected
    assert printed_items(printed) == sorted((path, size // 2**20) for path, size in expected)


def program(url: str, keyring: Path, case: Case, work: Path) -> peers.Result:
    limit = [f"--max={case.limit}"] if case.limit else []
    argv = [peers.sstream("sstream-mirror"), "--dry-run", f"--keyring={keyring}", *limit]
    return peers.run([*argv, url + reference.INDEX, work / "theirs", *case.filters])


def printed_items(text: str) -> list[Item]:
    """The lines `+ PRODUCT VERSION ITEM PATH SIZE Mb`; the size is in whole MiB."""
    lines = [line.split() for line in text.splitlines() if line.startswith("+ ")]
    return sorted((words[-3], int(words[-2])) for words in lines)


def dry_run(url: str, keyring: Path, case: Case, work: Path) -> peers.Result:
    source: list[Word] = ["--store", work / "store", "--upstream", url, "--keyring", keyring]
    chosen = ["--max-versions", str(case.limit or "all"), *case.filters]
    return peers.run([peers.maas_mirror(), "sync", "--dry-run", "-o", "json", *source, *chosen])


def ours(url: str, keyring: Path, case: Case, work: Path) -> list[Item]:
    plan = json.loads(dry_run(url, keyring, case, work).check().stdout)
    assert plan["schema"] == "maas-mirror/sync/1"
    assert plan["dry_run"] is True
    assert not (work / "store" / "index.json").exists(), "a dry run changes nothing"
    items = [(entry["path"], entry["size"]) for entry in plan["items"]]
    assert len(set(items)) == len(items), "each path counts once"
    return sorted(items)


def once(items: list[Item]) -> list[Item]:
    """`sstream-mirror` names a path once for each product that has it."""
    return sorted(set(items))
