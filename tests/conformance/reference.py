"""What `sstream-mirror --dry-run` selects, computed in process by its own library.

A start of the program takes a third of a second, and the matrix needs hundreds.
`test_filters.py` checks one run of the program against this.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simplestreams import contentsource, filters, mirrors, objectstores, util

INDEX = "streams/v1/index.sjson"
Item = tuple[str, int]


class ParsedReader(mirrors.MirrorReader):  # type: ignore[misc]
    """Reads each signed file of a tree once, with gpgv, and hands out what it says."""

    def __init__(self, root: Path, keyring: Path) -> None:
        super().__init__(policy=self.verify)
        self.root = root
        self.keyring = keyring
        self.payloads: dict[str, tuple[str, str]] = {}

    def verify(self, content: str, path: str) -> str:
        text: str = util.read_signed(content, keyring=str(self.keyring))
        return text

    def read_json(self, path: str) -> tuple[str, str]:
        if path not in self.payloads:
            raw = (self.root / path).read_text()
            self.payloads[path] = (raw, self.verify(raw, path))
        return self.payloads[path]

    def source(self, path: str) -> Any:
        return contentsource.MemoryContentSource(content=b"", url=path)


def select(
    reader: ParsedReader, work: Path, filter_texts: Sequence[str], max_items: int | None
) -> list[Item]:
    """Path and size of each item, as often as `sstream-mirror` names it."""
    config = {
        "max_items": max_items,
        "keep_items": False,
        "filters": filters.get_filters(list(filter_texts)),
        "item_download": True,
        "checksumming_reader": False,
    }
    empty = objectstores.FileStore(str(work / "nothing"))
    writer = mirrors.DryRunMirrorWriter(config=copy.deepcopy(config), objectstore=empty)
    writer.sync(reader, INDEX)
    return [(path, size) for _, path, size in writer.downloading]
