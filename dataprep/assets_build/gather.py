"""Copies the Ren'Py and OpenMoji pictures that ship with the project out of their unpacked packages.

    apt-get download renpy-thequestion renpy-demo && for p in *.deb; do dpkg-deb -x $p renpy; done
    npm pack openmoji@17.0.0 && tar xzf openmoji-17.0.0.tgz
    python gather.py renpy package OUT_DIR

Sprites become lossless WebP (invisible pixels lose their colour), backgrounds pass through `jpegtran -optimize
-progressive -copy none` (lossless), drawings are copied. Needs Pillow and jpegtran (Debian: libjpeg-turbo-progs).
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

SPRITES = {  # file -> tags; two of each pair that differ by the mouth alone show what the near-duplicate filter does
    "the_question/game/images/sylvie blue normal.png": ("blue-clothes",),
    "the_question/game/images/sylvie blue giggle.png": ("blue-clothes", "laughing"),
    "the_question/game/images/sylvie green normal.png": ("green-clothes",),
    "the_question/game/images/sylvie green smile.png": ("green-clothes", "smiling"),
    "demo/game/images/eileen happy.png": ("smiling",),
    "demo/game/images/eileen concerned.png": ("concerned",),
    "demo/game/images/lucy happy.png": ("smiling",),
    "demo/game/images/lucy mad.png": ("angry",),
}
BACKGROUNDS = ("club", "lecturehall", "meadow", "uni")
EMOJI = {  # OpenMoji subgroup -> how many, spread evenly over it
    "animal-mammal": 12,
    "animal-bird": 5,
    "animal-marine": 4,
    "animal-bug": 3,
    "animal-reptile": 3,
    "plant-flower": 3,
    "person": 5,
    "person-role": 7,
    "person-fantasy": 5,
    "food-fruit": 4,
    "food-sweet": 3,
    "clothing": 4,
    "musical-instrument": 2,
}


def main(renpy: Path, openmoji: Path, out: Path) -> None:
    write_index(out / "sprites", gather_renpy(renpy / "usr/share/games/renpy", out / "sprites"))
    write_index(out / "openmoji", gather_openmoji(openmoji, out / "openmoji"))


def write_index(folder: Path, entries: list[dict[str, Any]]) -> None:
    lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in sorted(entries, key=lambda e: e["path"])]
    (folder / "index.jsonl").write_text("".join(lines), encoding="utf-8")


def gather_renpy(games: Path, out: Path) -> list[dict[str, Any]]:
    out.mkdir(parents=True, exist_ok=True)
    entries = []
    for name, tags in SPRITES.items():
        stem = Path(name).stem.replace(" ", "-")
        Image.open(games / name).save(out / f"{stem}.webp", lossless=True, quality=100, method=6)
        character = stem.split("-")[0]
        tags = ("renpy", "character", f"character:{character}", *tags)
        entries.append({"path": f"{stem}.webp", "group": character, "tags": tags})
    for name in BACKGROUNDS:
        source = games / f"the_question/game/images/bg {name}.jpg"
        lossless = ["jpegtran", "-optimize", "-progressive", "-copy", "none", str(source)]
        (out / f"bg-{name}.jpg").write_bytes(subprocess.run(lossless, check=True, capture_output=True).stdout)
        entries.append({"path": f"bg-{name}.jpg", "group": f"bg-{name}", "tags": ("renpy", "background", name)})
    return entries


def gather_openmoji(package: Path, out: Path) -> list[dict[str, Any]]:
    table = json.loads((package / "data/openmoji.json").read_text(encoding="utf-8"))
    entries = []
    for subgroup, count in EMOJI.items():
        usable = [
            row for row in table if row["subgroups"] == subgroup and not row["skintone"] and in_both(package, row)
        ]
        usable.sort(key=lambda row: row["order"])
        for row in usable[:: max(1, len(usable) // count)][:count]:
            entries.append(copy_pair(package, row, out))
    return entries


def in_both(package: Path, row: dict[str, Any]) -> bool:
    return all((package / kind / "svg" / f"{row['hexcode']}.svg").is_file() for kind in ("color", "black"))


def copy_pair(package: Path, row: dict[str, Any], out: Path) -> dict[str, Any]:
    name = f"{row['hexcode']}.svg"
    for kind in ("color", "black"):
        (out / kind).mkdir(parents=True, exist_ok=True)
        (out / kind / name).write_bytes((package / kind / "svg" / name).read_bytes())
    words = f"{row['tags']}, {row['openmoji_tags']}".split(",")
    tags = dict.fromkeys(["openmoji", row["subgroups"], row["annotation"], *filter(None, map(str.strip, words))])
    return {"path": f"color/{name}", "group": f"openmoji-{row['hexcode']}", "tags": [*tags], "sketch": f"black/{name}"}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
