"""The WD taggers (SmilingWolf: v1-4 swinv2 v2, and v3): Danbooru's tags and rating of a picture.

The network is whatever timm architecture the published `config.json` names, under the published file's own keys; what
its outputs mean is said by the `selected_tags.csv` beside it. Probabilities are kept from a low floor on and none is
turned into a yes here, so that a threshold can be chosen whenever tags are used (dataprep.tags).

Shapes: N pictures, K labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from model.errors import ModelError
from model.extractors.convention import Picture, Planes
from model.extractors.fitting import planes, rgb, squash

CONFIG, LABELS = "config.json", "selected_tags.csv"
SIZE = 448
FLOOR = 0.05  # smaller probabilities are not kept
DIGITS = 4  # of the probabilities that are kept
GROUPS = {"9": "rating", "0": "general", "4": "character"}  # Danbooru's categories, and 9 of the taggers
RATINGS = ("general", "sensitive", "questionable", "explicit")
_WHITE = 255
# Arguments of timm.create_model that would open files or connections.
_OPENING = (
    *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict"),
    *("checkpoint_path", "cache_dir"),
)


@dataclass(frozen=True, eq=False)
class Labels:
    """What the K outputs are: `names` in their order, and which of them each group has."""

    names: tuple[str, ...]
    groups: Mapping[str, npt.NDArray[np.intp]]  # rating, general, character

    def kept(self, probabilities: npt.NDArray[np.float32], floor: float) -> dict[str, dict[str, float]]:
        """group -> label -> probability, (K,) -> all ratings, and the others from `floor` on."""
        rounded = np.round(probabilities.astype(np.float64), DIGITS)
        loud = ~(rounded < floor)  # NaN stays, and is refused where values are checked
        loud[self.groups["rating"]] = True
        chosen = {group: ats[loud[ats]] for group, ats in self.groups.items()}
        return {group: {self.names[at]: float(rounded[at]) for at in ats} for group, ats in chosen.items()}


class Tagger(nn.Module):
    """A timm classifier (N, 3, 448, 448) BGR in [-1, 1] -> logits (N, K), and what they mean.

    Its keys are the classifier's own, without a prefix, as published.
    """

    # In bfloat16 the EVA02 tagger strays by 1.3e-2; in float16 none of them by more than 1.5e-3.
    half_precision: ClassVar[tuple[str, ...]] = ("float16",)

    def __init__(self, classifier: nn.Module, labels: Labels) -> None:
        super().__init__()
        self.classifier = classifier
        self.labels = labels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(x)
        return logits

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The classifier's."""
        return self.classifier.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """The classifier's."""
        return self.classifier.load_state_dict(state_dict, strict, assign)


@dataclass(frozen=True)
class Tagging:
    """One way of feeding a tagger; the outputs' names are the network's: `for_network` gives the steps that know them.

    `fit`: "pad" centres the picture on a white square and resizes that in 8 bits; "squash" resizes each side on its
    own, in floats, corners aligned as torch has it. Both are bicubic and antialiased.
    """

    name: str
    fit: Literal["pad", "squash"]
    size: int = SIZE
    floor: float = FLOOR

    def prepare(self, picture: Picture) -> Planes:
        """(3, size, size) BGR, float32; in [-1, 1], which "squash" may overshoot."""
        bgr = rgb(picture)[..., ::-1]
        if self.fit == "pad":
            return planes(squash(_on_square(bgr), self.size, self.size), 1 / 127.5) - np.float32(1)
        whole = torch.from_numpy(planes(bgr, 1 / 127.5) - np.float32(1))[None]
        squashed = F.interpolate(whole, (self.size, self.size), mode="bicubic", align_corners=True, antialias=True)
        return squashed[0].numpy()

    def infer(self, network: nn.Module, planes: torch.Tensor) -> torch.Tensor:
        """Probabilities (N, K), float32."""
        return network(planes).float().sigmoid()

    def finish(self, output: npt.NDArray[np.float32], size: tuple[int, int]) -> dict[str, dict[str, float]]:
        """See LabelledTagging.finish. Raises ModelError here, where the labels are not known."""
        raise ModelError(f"convention {self.name}: only `for_network` knows what the outputs mean")

    def for_network(self, network: nn.Module) -> "LabelledTagging":
        """The same steps with the labels of `network`. Raises ModelError where it is no tagger."""
        if not isinstance(network, Tagger):
            raise ModelError(f"convention {self.name} is of taggers, not of {type(network).__name__}")
        return LabelledTagging(self.name, self.fit, self.size, self.floor, network.labels)


@dataclass(frozen=True)
class LabelledTagging(Tagging):
    """A Tagging whose outputs have names."""

    labels: Labels = Labels((), {})

    def finish(self, output: npt.NDArray[np.float32], size: tuple[int, int]) -> dict[str, dict[str, float]]:
        """{"rating": {...all four}, "general": {tag: probability}, "character": {...}}, from `floor` on, 4 digits."""
        return self.labels.kept(output, self.floor)


CONVENTIONS: Mapping[str, Tagging] = {
    "wdv3-timm": Tagging("wdv3-timm", "pad"),  # neggles/wdv3-timm, and SmilingWolf's own demo
    "colorizediffusion-xl": Tagging("colorizediffusion-xl", "squash"),
}


def from_config(companions: Mapping[str, Any]) -> Tagger:
    """The network that `config.json` (its object) and `selected_tags.csv` (its rows by column) describe, untrained.

    Raises ModelError where timm cannot build it, or where it would be fed otherwise than by CONVENTIONS.
    """
    config, labels = companions[CONFIG], read_labels(companions[LABELS])
    if not isinstance(config, Mapping):
        raise ModelError(f"{CONFIG}: not an object")
    if config.get("num_classes") != len(labels.names):
        raise ModelError(f"{CONFIG}: {config.get('num_classes')} classes, but {LABELS} has {len(labels.names)} labels")
    _check_input(config.get("pretrained_cfg"))
    return Tagger(_classifier(config), labels)


def read_labels(rows: Sequence[Mapping[str, str]]) -> Labels:
    """The labels of `selected_tags.csv` (columns name and category) in the order of the outputs. Raises ModelError."""
    try:
        names = tuple(row["name"] for row in rows)
        groups = [GROUPS[row["category"]] for row in rows]
    except (KeyError, TypeError) as error:
        raise ModelError(f"{LABELS}: a row without name, or with a category other than {', '.join(GROUPS)}") from error
    found = {group: np.flatnonzero([other == group for other in groups]) for group in GROUPS.values()}
    if tuple(names[at] for at in found["rating"]) != RATINGS:
        raise ModelError(f"{LABELS}: the ratings are not {', '.join(RATINGS)}")
    if len(set(zip(names, groups, strict=True))) != len(names) or not all(names):
        raise ModelError(f"{LABELS}: a label is empty or there twice")
    return Labels(names, found)


def _classifier(config: Mapping[str, Any]) -> nn.Module:
    import timm  # takes seconds, which listing the conventions should not cost

    architecture, arguments = config.get("architecture"), config.get("model_args") or {}
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise ModelError(f"{CONFIG}: timm {timm.__version__} knows no architecture {architecture!r}")
    if not isinstance(arguments, Mapping) or not set(arguments).isdisjoint(_OPENING):
        raise ModelError(f"{CONFIG}: model_args must not be one of {', '.join(_OPENING)}")
    known = {name: config[name] for name in ("num_classes", "global_pool") if config.get(name) is not None}
    try:
        return timm.create_model(architecture, **(known | dict(arguments)))
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError, RuntimeError) as error:
        raise ModelError(f"{CONFIG}: timm cannot build {architecture} with {dict(arguments)} ({error})") from error


def _check_input(fed: Any) -> None:
    """Refuse a network that was trained on other sizes or levels than the conventions give it; None says nothing."""
    if fed is None:
        return
    if not isinstance(fed, Mapping):
        raise ModelError(f"{CONFIG}: pretrained_cfg is not an object")
    expected = {"input_size": [3, SIZE, SIZE], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0}
    for name, value in expected.items():
        if fed.get(name, value) != value:
            raise ModelError(f"{CONFIG}: {name} is {fed[name]}, these taggers take {value}")


def _on_square(picture: Picture) -> Picture:
    """(H, W, 3) in the middle of a white square as large as its long side; an odd pixel goes below or to the right."""
    height, width = picture.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), _WHITE, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    return square
