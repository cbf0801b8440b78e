"""Signed streams: those that `fixtures` makes, and small ones written out here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peers
from peers import Word

Tree = dict[str, Any]
UPDATED = "Tue, 28 Sep 2021 10:00:00 +0000"


@dataclass(frozen=True)
class Stream:
    """A signed tree on disk and the keyring that verifies it."""

    root: Path
    keyring: Path


def make(root: Path, *options: str) -> Stream:
    """A stream shaped like maas.io's, by the `fixtures` program."""
    keyring = root.parent / f"{root.name}-keyring.gpg"
    peers.run([peers.fixtures(), "make", root, "--keyring-out", keyring, *options]).check()
    return Stream(root, keyring)


class Signer:
    """A throwaway key in a `gpg` home of its own."""

    def __init__(self, home: Path) -> None:
        home.mkdir(mode=0o700)
        self.home = home
        self.keyring = home / "keyring.gpg"
        self.gpg("--quick-gen-key", "Conformance <conformance@example.com>", "rsa3072", "sign", "never")
        self.keyring.write_bytes(self.gpg("--export"))

    def gpg(self, *args: Word) -> bytes:
        base: list[Word] = [peers.debian("gpg"), "--homedir", self.home, "--batch", "--quiet"]
        return peers.run([*base, "--passphrase", "", "--pinentry-mode", "loopback", *args]).check().stdout

    def sign(self, text: Path, signed: Path) -> None:
        self.gpg("--yes", "--output", signed, "--clearsign", text)

    def close(self) -> None:
        """Ends the agent that gpg started for this home."""
        peers.run([peers.debian("gpgconf", "gnupg"), "--homedir", self.home, "--kill", "all"])


def write(root: Path, signer: Signer, files: Mapping[str, Tree]) -> Stream:
    """Writes and signs products files (by content id) and an index of them."""
    entries = {content_id: write_products(root, signer, content_id, tree) for content_id, tree in files.items()}
    index = {"format": "index:1.0", "updated": UPDATED, "index": entries}
    write_signed(root, signer, "streams/v1/index", index)
    return Stream(root, signer.keyring)


def write_products(root: Path, signer: Signer, content_id: str, tree: Tree) -> Tree:
    head = {
        "format": "products:1.0",
        "content_id": content_id,
        "datatype": "image-downloads",
        "updated": UPDATED,
    }
    stem = f"streams/v1/{content_id}"
    write_signed(root, signer, stem, head | tree)
    names = {key: head[key] for key in ("format", "datatype", "updated")}
    return names | {"path": f"{stem}.sjson", "products": list(tree["products"])}


def write_signed(root: Path, signer: Signer, stem: str, tree: Tree) -> None:
    plain = root / f"{stem}.json"
    plain.parent.mkdir(parents=True, exist_ok=True)
    plain.write_text(json.dumps(tree, indent=1) + "\n")
    signer.sign(plain, root / f"{stem}.sjson")


def item(root: Path, path: str, ftype: str, **keys: Any) -> Tree:
    """Writes a small file and gives its entry; its content is its own path."""
    content = f"content of {path}\n".encode()
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return {"ftype": ftype, "path": path, "sha256": digest, "size": len(content)} | keys
