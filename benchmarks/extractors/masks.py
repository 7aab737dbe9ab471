"""Foreground masks beside true alpha: intersection over union of every convention of one set of ISNet's weights.

    python -m benchmarks.extractors.masks [--weights isnet_general] [--store STORE] [--portraits FOLDER] [--count 24]

The shipped sprites are laid over white, as a corpus has them, and over the shipped backgrounds. `--portraits` takes a
folder of pictures with alpha, such as `data/core/images/portraits` of Debian's wesnoth-1.16-data. The weights come from
the weight store (`irodori weights get isnet_general`). One mask takes some 5 s on one core.
"""

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.measuring import Section, markdown
from dataprep.pictures.decode import Picture, decode, decode_resized
from model.extractors.convention import Convention
from model.extractors.masks.isnet import CONVENTIONS
from pipelines.common.shipped_pictures import PICTURES
from pipelines.weights.store import load_network, stored

THRESHOLD = 0.5
ABOUT = f"""\
Intersection over union of mask and alpha, both cut at {THRESHOLD:g}; 1 is perfect. Worst: the lowest of all pictures,
and whose. A picture whose alpha is nowhere opaque is left out."""


@dataclass(frozen=True)
class Case:
    """rgb: uint8 (H, W, 3). foreground: bool (H, W)."""

    name: str
    rgb: npt.NDArray[np.uint8]
    foreground: npt.NDArray[np.bool_]


def run(network: nn.Module, weights: str, groups: Mapping[str, Sequence[Case]]) -> Section:
    """One row for each group of pictures and each convention."""
    rows = []
    for group, cases in groups.items():
        for name, convention in CONVENTIONS.items():
            scores = {case.name: score(network, convention, case) for case in cases}
            worst = min(scores, key=lambda name: scores[name])
            rows.append(
                {
                    "pictures": group,
                    "number": len(cases),
                    "convention": name,
                    "mean": statistics.mean(scores.values()),
                    "median": statistics.median(scores.values()),
                    "worst": scores[worst],
                    "whose": worst,
                }
            )
    return Section(f"Masks of {weights}", ABOUT, rows, None)


@torch.inference_mode()
def score(network: nn.Module, convention: Convention, case: Case) -> float:
    """Intersection over union of the mask of one picture."""
    output = convention.infer(network, torch.from_numpy(convention.prepare(case.rgb))[None])[0]
    size: tuple[int, int] = case.foreground.shape
    return overlap(convention.finish(output.numpy(), size) >= THRESHOLD, case.foreground)


def overlap(mask: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """Intersection over union; 1 where both are empty."""
    union = int((mask | truth).sum())
    return int((mask & truth).sum()) / union if union else 1.0


def over_white(folder: Path, count: int | None = None) -> list[Case]:
    """The pictures with alpha below `folder`, `count` of them from all over it."""
    return [_case(name, picture.rgb, picture) for name, picture in _spread(list(_with_alpha(folder)), count)]


def over_backgrounds(sprites: Path, backgrounds: Sequence[Path]) -> list[Case]:
    """The sprites, each over one of the backgrounds in turn, which is cut to the sprite's size in its middle."""
    cases = []
    for number, (name, picture) in enumerate(_with_alpha(sprites)):
        height, width = picture.rgb.shape[:2]
        ground = decode_resized(backgrounds[number % len(backgrounds)].read_bytes(), width, height, "cover")
        top, left = (ground.shape[0] - height) // 2, (ground.shape[1] - width) // 2
        behind = ground[top : top + height, left : left + width].astype(np.float32)
        shows = 1 - _alpha(picture)[..., None] / np.float32(255)
        mixed = np.clip(picture.rgb - 255 * shows + behind * shows, 0, 255)
        cases.append(_case(name, np.rint(mixed).astype(np.uint8), picture))
    return cases


def _with_alpha(folder: Path) -> Iterator[tuple[str, Picture]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".png", ".webp"):
            picture = decode(path.read_bytes())
            if picture.alpha is not None and (picture.alpha >= 255 * THRESHOLD).any():
                yield str(path.relative_to(folder)), picture


def _spread(items: list[tuple[str, Picture]], count: int | None) -> list[tuple[str, Picture]]:
    return items if count is None else items[:: max(1, len(items) // count)][:count]


def _alpha(picture: Picture) -> npt.NDArray[np.uint8]:
    assert picture.alpha is not None
    return picture.alpha


def _case(name: str, rgb: npt.NDArray[np.uint8], picture: Picture) -> Case:
    return Case(name, rgb, _alpha(picture) >= 255 * THRESHOLD)


def shipped() -> dict[str, list[Case]]:
    """The sprites that ship with the project, over white and over the backgrounds that ship with them."""
    sprites = PICTURES / "sprites"
    backgrounds = sorted(sprites.glob("bg-*.jpg"))
    return {
        "sprites over white": over_white(sprites),
        "sprites over backgrounds": over_backgrounds(sprites, backgrounds),
    }


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="isnet_general", help="isnetis or isnet_general")
    parser.add_argument("--store", default="", help="the weight store, where it is not the usual one")
    parser.add_argument("--portraits", type=Path, help="a folder of more pictures with alpha")
    parser.add_argument("--count", type=int, default=24, help="how many of the portraits")
    arguments = parser.parse_args()
    cv2.setNumThreads(torch.get_num_threads())
    groups = shipped()
    if arguments.portraits:
        groups[f"portraits of {arguments.portraits.resolve().name}"] = over_white(arguments.portraits, arguments.count)
    network = load_network(arguments.weights, stored(arguments.weights, arguments.store).sha256, arguments.store)
    print(markdown(run(network, arguments.weights, groups)))


if __name__ == "__main__":
    main()
