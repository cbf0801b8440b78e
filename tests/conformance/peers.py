"""The programs under test and their peers: where they are, how they are run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COMMAND_TIMEOUT_S = 600

Word = str | Path


class MissingProgram(Exception):
    """A program that the tests need is not there."""


@dataclass(frozen=True)
class Result:
    """What a command printed and how it ended."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: str

    def check(self) -> Result:
        assert self.code == 0, f"{self}"
        return self

    def __str__(self) -> str:
        return f"exit {self.code}: {' '.join(self.argv)}\n{self.stderr[-4000:]}"


def run(argv: Sequence[Word], env: dict[str, str] | None = None) -> Result:
    """Runs a command to its end, with the user's own configuration out of the way."""
    words = tuple(str(word) for word in argv)
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=COMMAND_TIMEOUT_S,
        env=clean_env() | (env or {}),
        check=False,
    )
    return Result(words, done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def clean_env() -> dict[str, str]:
    """The environment without proxies and without our own settings."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.lower().endswith("_proxy") and not is_setting(key)
    } | {"NO_PROXY": "*", "LC_ALL": "C.UTF-8"}


def is_setting(key: str) -> bool:
    return key.startswith("MAAS_MIRROR_") and key != "MAAS_MIRROR_BIN"


def maas_mirror() -> str:
    return from_env("MAAS_MIRROR_BIN", "make build")


def fixtures() -> str:
    return from_env("FIXTURES_BIN", "make build")


def sstream(name: str) -> str:
    folder = os.environ.get("SSTREAM_BIN")
    path = Path(folder, name) if folder else shutil.which(name)
    if not path or not Path(path).is_file():
        raise MissingProgram(f"{name} is missing; run the tests by `make conformance`")
    return str(path)


def debian(name: str, package: str | None = None) -> str:
    path = shutil.which(name)
    if not path:
        raise MissingProgram(f"{name} is missing; install it: apt-get install {package or name}")
    return path


def from_env(variable: str, command: str) -> str:
    path = os.environ.get(variable)
    if not path or not Path(path).is_file():
        fault = f"is {path}, which is no program" if path else "is not set"
        raise MissingProgram(f"{variable} {fault}; run `{command}`, or the tests by `make conformance`")
    return path
