"""Filters to compare: written out by hand, and drawn at random from a fixed seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

SEED = 20210928
DRAWN = 150


@dataclass(frozen=True)
class Case:
    """Filters and a limit of versions; `None` is no limit."""

    filters: tuple[str, ...]
    limit: int | None

    def __str__(self) -> str:
        return f"{' , '.join(self.filters)} max={self.limit or 'all'}"


HAND_MADE = [
    # Keys inherited from product, version and tree.
    ("arch=amd64", "release~xenial"),
    ("release_codename~Xenial", "ftype=squashfs"),
    ("label=stable",),
    ("datatype=image-downloads",),
    ("format=products:1.0", "ftype=squashfs"),
    # The four computed keys.
    ("content_id~bootloader",),
    ("content_id=com.ubuntu.maas:stable:v3:download", "item_name=squashfs"),
    ("product_name~ga-16.04$",),
    ("product_name~:amd64:", "item_name~^boot-"),
    ("version_name~^2",),
    ("version_name!=nothing", "item_name=manifest"),
    ("item_name!~^(squashfs|boot-kernel)$",),
    # Each operator, with spaces round it, before it, after it.
    ("arch = amd64",),
    ("arch =amd64",),
    ("arch= amd64",),
    ("arch   =   amd64",),
    ("arch != amd64",),
    ("arch ~ amd",),
    ("arch !~ amd",),
    ("arch!~^amd64$", "ftype!=squashfs"),
    # A space at the end belongs to the value.
    ("arch=amd64 ",),
    ("arch~amd64 ",),
    # A second operator belongs to the value.
    ("arch==amd64",),
    ("arch=!amd64",),
    ("arch=~amd64",),
    ("arch~=",),
    # Missing keys read as the empty string; empty values.
    ("nosuchkey=",),
    ("nosuchkey!=",),
    ("nosuchkey=x",),
    ("nosuchkey!=x",),
    ("nosuchkey~x",),
    ("nosuchkey!~x",),
    ("nosuchkey~^$",),
    ("kflavor=", "path~."),
    ("kflavor!=", "arch=arm64"),
    ("arch=",),
    ("arch~",),
    ("arch!~",),
    # Regular expressions: searched, anchors, alternation, classes, counts, flags, look-around.
    ("os~(grub*|pxelinux)",),
    ("release~(xenial|bionic)",),
    ("release~xenial|bionic",),
    ("release~^(xenial|bionic)$",),
    ("release~^x",),
    ("release~l$",),
    ("release~[xb]i",),
    ("path~\\.manifest$",),
    ("path~squashfs\\b",),
    ("size~^\\d{4,5}$",),
    ("release~(?i)XENIAL",),
    ("release~^(?!xenial)",),
    ("release~XENIAL",),
    ("path~/(\\w+)/.*squashfs",),
    ("sha256~^[0-7]",),
    # Numbers compare as text.
    ("size!=0", "ftype=manifest"),
    ("size~^[1-4]",),
    # Two and three filters; a pair that excludes everything.
    ("arch=amd64", "release=bionic", "ftype=boot-kernel"),
    ("arch!=amd64", "os!=centos", "item_name~kernel"),
    ("arch=amd64", "arch=arm64"),
    ("arch~64", "arch~arm", "arch!~amd"),
    ("subarches~ga-16.04", "ftype=boot-initrd"),
    ("os=centos",),
    ("os~.", "release!~."),
]

# Against the small stream of `odd_stream`, made for these.
ODD = [
    ("release_title=16.04 LTS",),
    ("release_title = 16.04 LTS",),
    ("release_title~04 LTS$",),
    ("release_title!=16.04 LTS",),
    ("note=",),
    ("note!=",),
    ("note~^$",),
    ("note= padded ",),
    ("note~^ padded $",),
    ("two-part-key=yes",),
    ("level=tree",),
    ("level=product",),
    ("level=version",),
    ("level=item",),
    ("level~^(tree|item)$",),
    ("product_name=claimed",),
    ("product_name~^plain",),
    ("item_name=claimed",),
    ("count=7",),
    ("count~^7",),
    ("ratio=1.5",),
    ("title~größe",),
    ("title=größe 1",),
    ("title~^gr..e",),
    ("list=a",),
    ("list=",),
    ("nested=",),
    ("empty=", "path~."),
    ("version_name~^2021", "level!=item"),
    ("ftype=root-image.gz",),
    ("ftype~root.image.gz", "level=item"),
    ("a|b=yes",),
]

# What `sstream-mirror` refuses to parse.
REFUSED = ["", "arch", "=amd64", " arch=amd64", "arch amd64", "arch.x=amd64", "arch!amd64", "arch~(", "arch~["]

KEYS = {
    "arch": ["amd64", "arm64", "i386", "64"],
    "release": ["xenial", "bionic", "jammy", "noble", "i"],
    "os": ["ubuntu", "centos", "grub", "pxelinux"],
    "ftype": ["squashfs", "boot-kernel", "boot-initrd", "manifest", "archive.tar.xz", "root-tgz"],
    "kflavor": ["generic", "lowlatency", ""],
    "krel": ["xenial", "bionic", "jammy"],
    "subarch": ["ga-16.04", "hwe-16.04", "hwe-18.04", "ga-22.04"],
    "label": ["stable", "candidate"],
    "version": ["16.04", "18.04", "22.04", ""],
    "content_id": ["download", "bootloader", "com.ubuntu.maas:stable:v3:download"],
    "product_name": ["boot", "amd64", "grub-efi", "hwe"],
    "version_name": ["2021", "0$", "2$", ".1"],
    "item_name": ["squashfs", "boot-kernel", "shim", "manifest"],
    "path": ["xenial", "amd64", "squashfs$", "boot"],
    "bootloader-type": ["uefi", "pxe", ""],
    "support_eol": ["2021-04-21", "20"],
    "nosuchkey": ["", "x"],
}


def drawn() -> list[Case]:
    """The random part: the same for every run."""
    source = random.Random(SEED)
    return [draw_case(source) for _ in range(DRAWN)]


def draw_case(source: random.Random) -> Case:
    count = source.choice([1, 1, 2, 2, 2, 3])
    filters = tuple(draw_filter(source) for _ in range(count))
    return Case(filters, source.choice([1, 2, None]))


def draw_filter(source: random.Random) -> str:
    key = source.choice(sorted(KEYS))
    operator = source.choice(["=", "!=", "~", "~", "!~"])
    left, right = (source.choice(["", "", "", " ", "  "]) for _ in range(2))
    return f"{key}{left}{operator}{right}{draw_value(source, key, operator)}"


def draw_value(source: random.Random, key: str, operator: str) -> str:
    values = KEYS[key]
    one = source.choice(values)
    if "~" not in operator:
        return one
    other = source.choice(values)
    return source.choice([one, f"^{one}", f"{one}$", f"^{one}$", f"({one}|{other})", f"{one}.*", one[:3]])


def cases(written: list[tuple[str, ...]]) -> list[Case]:
    """Each of the written ones with a limit of 1, of 2 and with none, in turn and where it matters."""
    limits = (1, 2, None)
    return [Case(filters, limits[number % 3]) for number, filters in enumerate(written)]
