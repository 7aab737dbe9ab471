"""What colours a sketch, whatever the family: a diffusion pipeline with a sampler, or one pass of a generator.

Commands, evaluation and the watching of a training know colorists alone. `DirectColorist` makes one of any network that
answers in one pass.

Shapes: B pictures, H W sketch and result, h w reference of any size; all in [-1, 1], sketch background -1, lines +1.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

import torch
import torch.nn.functional as F
from torch import nn

from model.errors import ModelError
from model.finite import check_pictures

PAPER = -1.0  # of a sketch; lines are +1
Pictures = torch.Tensor | Sequence[torch.Tensor]


class Colored(NamedTuple):
    """A picture (3, H, W) in [-1, 1] on the CPU, and what it was made of: indices and the seed."""

    sketch: int
    reference: int | None
    seed: int
    picture: torch.Tensor


class Colorist(Protocol):
    """Colours sketches after references; the same seed gives the same picture alone or in a batch."""

    controls: frozenset[str]
    """The fields of SamplingSettings that change its pictures; the others are refused where they are set."""
    roles: frozenset[str]
    """What its references may be: "reference", the one whose colours are wanted."""
    separates: bool
    """Whether its calls take masks and backgrounds (model.diffusion.separation.Separation)."""
    device: torch.device

    def __call__(
        self,
        sketches: torch.Tensor,
        references: Pictures | None,
        seeds: Sequence[int],
        steps: int | None = None,
        guidance_scale: float | None = None,
        settings: Any = None,
        separation: Any = None,
    ) -> torch.Tensor:
        """Pictures (B, 3, H, W), the nth sketch (B, 3, H, W) after the nth reference with the nth seed."""

    def every(
        self,
        sketches: Sequence[torch.Tensor],
        references: Sequence[torch.Tensor],
        seeds: Sequence[int],
        settings: Any = None,
        batch_size: int = 4,
        pairs: Sequence[tuple[int, int | None]] | None = None,
        separation: Any = None,
    ) -> Iterator[Colored]:
        """Each sketch after each reference (or the `pairs` of indices) with each seed, batch by batch."""

    def lower_memory(
        self,
        *,
        offload: bool = True,
        tiling: bool = True,
        slicing: bool = True,
        device: torch.device | str | None = None,
    ) -> Self:
        """Spend time to save memory, as far as the colorist can."""

    def optimise(self, *, compile: bool = False, channels_last: bool = True) -> Self:
        """Spend start-up to save time per picture; results differ by rounding only."""


Pass = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class DirectColorist:
    """A colorist of a network that answers in one pass: `run(sketch (B, 3, H, W), reference (B, 3, h, w))`.

    Sketches are padded with paper to multiples of `multiple`; references are squashed to `reference_size` where that is
    given, else to the sketch's size. Without a reference it is shown a white one. Nothing is drawn, so every seed gives
    the same picture.
    """

    controls: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset({"reference"})
    separates = False

    def __init__(self, network: nn.Module, run: Pass, *, multiple: int = 1, reference_size: int | None = None) -> None:
        self._network, self._run, self._multiple, self._reference_size = network, run, multiple, reference_size
        self.device = next(network.parameters()).device

    @torch.no_grad()
    def __call__(
        self,
        sketches: torch.Tensor,
        references: Pictures | None,
        seeds: Sequence[int],
        steps: int | None = None,
        guidance_scale: float | None = None,
        settings: Any = None,
        separation: Any = None,
    ) -> torch.Tensor:
        """See `Colorist`. Raises ModelError for counts that do not fit, masks, and a picture that is not finite."""
        if separation is not None:
            raise ModelError("this network takes neither masks nor a background")
        if len(seeds) != len(sketches) or (references is not None and len(references) != len(sketches)):
            raise ModelError(f"{len(sketches)} sketches need as many seeds and references")
        height, width = sketches.shape[-2:]
        down, right = -height % self._multiple, -width % self._multiple
        padded = F.pad(sketches.to(self.device), (0, right, 0, down), value=PAPER)
        size = (self._reference_size,) * 2 if self._reference_size else padded.shape[-2:]
        if references is None:
            squashed = torch.ones(len(sketches), 3, *size, device=self.device)
        else:
            squashed = torch.cat([_squashed(reference.to(self.device), size) for reference in references])
        pictures = check_pictures(self._run(padded, squashed))  # before it is clamped: infinity would become white
        return pictures[..., :height, :width].clamp(-1, 1)

    def every(
        self,
        sketches: Sequence[torch.Tensor],
        references: Sequence[torch.Tensor],
        seeds: Sequence[int],
        settings: Any = None,
        batch_size: int = 4,
        pairs: Sequence[tuple[int, int | None]] | None = None,
        separation: Any = None,
    ) -> Iterator[Colored]:
        """See `Colorist`; sketches are made one by one, since their sizes may differ."""
        if pairs is None:
            pairs = [(sketch, other) for sketch in range(len(sketches)) for other in range(len(references)) or (None,)]
        for sketch, reference in pairs:
            chosen = None if reference is None else [references[reference]]
            picture = self(sketches[sketch][None], chosen, [0], separation=separation)[0].cpu()
            for seed in seeds:
                yield Colored(sketch, reference, seed, picture)

    def lower_memory(
        self,
        *,
        offload: bool = True,
        tiling: bool = True,
        slicing: bool = True,
        device: torch.device | str | None = None,
    ) -> Self:
        """One network is all there is: only `device` says something."""
        if device is not None:
            self.device = torch.device(device)
            self._network.to(self.device)
        return self

    def optimise(self, *, compile: bool = False, channels_last: bool = True) -> Self:
        """channels_last: the memory order in which convolutions run fastest."""
        order = torch.channels_last if channels_last else torch.contiguous_format
        self._network.to(memory_format=order)  # type: ignore[call-overload]
        if compile:
            self._network.compile()
        return self


def _squashed(image: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """A reference (3, h, w) as (1, 3, *size)."""
    return F.interpolate(image[None], size=tuple(size), mode="bilinear", antialias=True, align_corners=False)


def controls_set(settings: Any, defaults: Any) -> frozenset[str]:
    """The fields in which two settings of one dataclass differ: what a caller has set."""
    fields: Mapping[str, Any] = vars(settings)
    return frozenset(name for name, value in fields.items() if value != getattr(defaults, name))
