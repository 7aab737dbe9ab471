"""Sketches and references in, coloured pictures out: codec, reference encoder, a denoiser and a sampler put together.

Each sketch and each reference is encoded once, however many pictures are made of it and whatever the batches; only what
attention injection reads of a reference, which is large, is made again for a later batch. Every picture has random
numbers of its own, so its seed says what it is, alone or in a batch.

Shapes: B batch, H W sketch and picture of any size (padded inside with paper), h w reference of any size.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import nn

from model.backbone.decoder_features import DecoderFeatures
from model.colorist import PAPER, Colored
from model.diffusion.denoiser import Hints
from model.diffusion.injection import InjectionConditions, injection_conditions
from model.diffusion.memory import Offload
from model.diffusion.noise import NoiseSchedule, PredictionType
from model.diffusion.sampling import Conditions, sample
from model.diffusion.sampling_settings import SEPARATION_CONTROLS, SamplingSettings
from model.diffusion.separation import Separation
from model.errors import ModelError
from model.finite import check_pictures
from model.frozen.codec import ImageCodec
from model.frozen.image_encoder import ReferenceEncoder, Tokens, released_squash, squash, widen

TILE = 512  # pixels a side, what the published codec was trained at


class ReferenceTokens(NamedTuple):
    """What the network reads of a reference: its context (1, N, D), or (1, 2 N, D) of two. whole, ground: the image
    encoder's tokens (1, N, D) of all of it and of its background, where anything else than the context needs them."""

    context: torch.Tensor
    whole: torch.Tensor | None = None
    ground: torch.Tensor | None = None


class Task(NamedTuple):
    """One picture to make: the indices of its sketch and of its reference, and its seed."""

    sketch: int
    reference: int | None
    seed: int


class ColorizationPipeline:
    """Colours sketches after references; the same seed gives the same picture alone or in a batch."""

    controls = frozenset(entry.name for entry in fields(SamplingSettings)) - SEPARATION_CONTROLS
    roles = frozenset({"reference"})
    separates = False  # whether its calls take a `Separation`

    def __init__(
        self,
        model: Any,
        codec: ImageCodec,
        image_encoder: ReferenceEncoder,
        *,
        prediction_type: PredictionType,
        scaling_factor: float,
        noise_schedule: NoiseSchedule = "stable-diffusion",
        sampling: SamplingSettings | None = None,
        released: bool = False,
    ) -> None:
        """model: a `Denoiser` that is a module. scaling_factor: of the latents that it was trained on. sampling: used
        where a call gives none. released: the published code trained it, behind another squash of the references.
        Raises ModelError for another codec."""
        if codec.scaling_factor != scaling_factor:
            raise ModelError(
                f"the model was trained on latents scaled by {scaling_factor}, "
                f"this codec scales by {codec.scaling_factor}: it is another codec"
            )
        self.model = model
        self.prediction_type, self.noise_schedule = prediction_type, noise_schedule
        self.sampling = sampling or SamplingSettings()
        self.codec, self.image_encoder = codec, image_encoder
        image_encoder.squash = released_squash if released else squash
        self.device = next(model.parameters()).device
        self.offload: Offload | None = None

    @classmethod
    def of(cls, model: nn.Module, frozen: Mapping[str, nn.Module], metadata: Any, *, released: bool) -> Self:
        """Of a checkpoint's network, the frozen ones by role, and its metadata."""
        return cls(
            model,
            frozen["codec"],  # type: ignore[arg-type]
            frozen["image_encoder"],  # type: ignore[arg-type]
            prediction_type=metadata.prediction_type,
            scaling_factor=metadata.scaling_factor,
            noise_schedule=metadata.noise_schedule,
            sampling=metadata.own_sampling(),
            released=released,
        )

    def lower_memory(
        self,
        *,
        offload: bool = True,
        tiling: bool = True,
        slicing: bool = True,
        device: torch.device | str | None = None,
    ) -> Self:
        """Spend time to save memory, in any combination; what is False is switched off.

        offload: the networks wait on the CPU and visit the device in turn, with equal results. slicing: the codec takes
        the pictures of a batch one by one, with equal results. tiling: it takes pictures larger than 512 pixels in
        tiles, with slightly different results (1 level of 255 rms, at most 19, for a picture of 832 pixels a side in
        the tiny codec, which itself loses 9 rms). device: where pictures are made from now on; of a pipeline that was
        loaded on the CPU, it never holds all networks.
        """
        if self.offload:
            self.offload.visit()
        self.device = self.device if device is None else torch.device(device)
        self.offload = Offload(self._networks, self.device) if offload else None
        if not offload:
            for network in self._networks:
                network.to(self.device)
        self.codec.tile, self.codec.slicing = TILE if tiling else None, slicing
        return self

    def optimise(self, *, compile: bool = False, channels_last: bool = True) -> Self:
        """Spend start-up to save time per picture; results differ by rounding only.

        channels_last: the memory order that convolutions run fastest in. compile: the UNet through torch.compile, which
        takes minutes at published size and again for each new picture size and batch size; what is False is undone.
        """
        offload = self.offload is not None
        if self.offload:
            self.offload.visit(*self._networks)
        for network in (self.model, self.codec):
            network.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)  # type: ignore[call-overload]
        if offload:
            self.offload = Offload(self._networks, self.device)
        self.model.unet._compiled_call_impl = None  # torch has no public way back
        if compile:
            self.model.unet.compile()
        return self

    @torch.no_grad()
    def __call__(
        self,
        sketches: torch.Tensor,
        references: torch.Tensor | Sequence[torch.Tensor] | None,
        seeds: Sequence[int],
        steps: int | None = None,
        guidance_scale: float | None = None,
        settings: SamplingSettings | None = None,
        separation: Separation | None = None,
    ) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], the nth sketch after the nth reference with the nth seed.

        sketches (B, 3, H, W), background -1 and lines +1; references (B, 3, h, w) in [-1, 1], a sequence of (3, h, w)
        where their sizes differ, or None for none; one seed for each. steps and guidance_scale override the settings.
        separation: for a family that keeps figure and ground apart. Raises ModelError for counts or shapes that do not
        fit.
        """
        settings = settings or self.sampling
        settings = replace(
            settings,
            steps=settings.steps if steps is None else steps,
            guidance_scale=settings.guidance_scale if guidance_scale is None else guidance_scale,
        )
        if not len(sketches):
            raise ModelError("there is no sketch to colour")
        counts = {len(sketches), len(seeds), len(sketches if references is None else references)}
        if len(counts) != 1:
            raise ModelError(
                f"{len(sketches)} sketches need as many seeds ({len(seeds)}) and references "
                f"({'none' if references is None else len(references)})"
            )
        tasks = [Task(n, None if references is None else n, seed) for n, seed in enumerate(seeds)]
        shown = [] if references is None else list(references)
        made = self._make(tasks, list(sketches), shown, settings, len(tasks), separation)
        return torch.stack([colored.picture for colored in made]).to(self.device)

    def every(
        self,
        sketches: Sequence[torch.Tensor],
        references: Sequence[torch.Tensor],
        seeds: Sequence[int],
        settings: SamplingSettings | None = None,
        batch_size: int = 4,
        pairs: Sequence[tuple[int, int | None]] | None = None,
        separation: Separation | None = None,
    ) -> Iterator[Colored]:
        """Each sketch after each reference (or after none, where there are none) with each seed, batch by batch.

        sketches (3, H, W), background -1 and lines +1; references (3, h, w) in [-1, 1]; sizes may differ, and sketches
        of one size share batches of up to batch_size pictures. pairs: the indices of the sketch and the reference (None
        for none) of each picture instead of all. Pictures come ordered by size, then sketch, then as asked for.

        Memory: the tokens of all references stay on the device (1 MB each in fp32 at published size), hints and what
        attention injection reads only for a batch. Raises ModelError for a batch_size below 1, or shapes that do not
        fit.
        """
        if batch_size < 1:
            raise ModelError(f"batch_size={batch_size} is not at least 1")
        if pairs is None:
            pairs = [(sketch, other) for sketch in range(len(sketches)) for other in range(len(references)) or (None,)]
        tasks = [Task(*pair, seed) for pair in pairs for seed in seeds]
        return self._make(tasks, sketches, references, settings or self.sampling, batch_size, separation)

    def _make(
        self,
        tasks: Sequence[Task],
        sketches: Sequence[torch.Tensor],
        references: Sequence[torch.Tensor],
        settings: SamplingSettings,
        batch_size: int,
        separation: Separation | None,
    ) -> Iterator[Colored]:
        """The pictures of `tasks`; checked here, made as the result is read."""
        for index in dict.fromkeys(task.sketch for task in tasks):
            _check("sketch", index, sketches[index])
        for index in _references(tasks):
            _check("reference", index, references[index])
        self._check_separation(separation, len(sketches), len(references), settings)
        groups: dict[tuple[int, int, bool], list[Task]] = {}
        for task in sorted(tasks, key=lambda task: task.sketch):
            height, width = sketches[task.sketch].shape[-2:]
            groups.setdefault((height, width, task.reference is not None), []).append(task)
        return self._make_groups(list(groups.values()), sketches, references, settings, batch_size, separation)

    def _check_separation(
        self, separation: Separation | None, sketches: int, references: int, settings: SamplingSettings
    ) -> None:
        """ModelError for masks that this network has no use for, or lacks."""
        if separation is not None:
            raise ModelError("this network reads a reference as a whole: it takes neither masks nor a background")

    @torch.no_grad()
    def _make_groups(
        self,
        groups: Sequence[Sequence[Task]],
        sketches: Sequence[torch.Tensor],
        references: Sequence[torch.Tensor],
        settings: SamplingSettings,
        batch_size: int,
        separation: Separation | None,
    ) -> Iterator[Colored]:
        # References first: their tokens are small and serve every group.
        used = _references([task for group in groups for task in group])
        contexts = self._contexts({index: references[index] for index in used}, settings, batch_size, separation)
        unguided = replace(settings, guidance_scale=1.0)  # without a reference both of its branches are the same
        for group in groups:
            chosen = unguided if group[0].reference is None else settings
            hints: dict[int, Hints] = {}
            injections: dict[int, InjectionConditions] = {}
            features: dict[int, DecoderFeatures] = {}
            empty = self._empty_hints(sketches[group[0].sketch], settings)
            size = sketches[group[0].sketch].shape[-2:]
            for start in range(0, len(group), batch_size):
                # What the last batch had made is kept where this one needs it again; only the rest is encoded.
                batch = group[start : start + batch_size]
                drawn, shown = dict.fromkeys(task.sketch for task in batch), _references(batch)
                hints = {n: hints[n] for n in drawn if n in hints}
                hints |= self._hints({n: sketches[n] for n in drawn if n not in hints}, settings)
                injections = {n: injections[n] for n in shown if n in injections}
                injections |= self._injections(
                    {n: references[n] for n in shown if n not in injections}, self._padded(size), settings
                )
                features = {n: features[n] for n in shown if n in features}
                features |= self._features(
                    {n: references[n] for n in shown if n not in features},
                    contexts,
                    self._padded(size),
                    chosen,
                    separation,
                )
                # Colour, and take the paper off that was added around the sketch.
                conditions = self._conditions(batch, hints, empty, contexts, injections)
                conditions = self._separated(conditions, batch, self._padded(size), chosen, separation, features)
                pictures = self._sample(conditions, [task.seed for task in batch], chosen)
                pictures = _crop(pictures, size).cpu()
                yield from map(Colored, *zip(*batch, strict=True), pictures)

    def _contexts(
        self,
        references: dict[int, torch.Tensor],
        settings: SamplingSettings,
        batch_size: int,
        separation: Separation | None,
    ) -> dict[int, ReferenceTokens]:
        """What the network reads of each reference."""
        tokens = self._tokens(list(references.values()), settings, batch_size)
        self._visit(self.model)
        encoded = [ReferenceTokens(self.model.encode_context(row), row) for row in tokens]
        return dict(zip(references, encoded, strict=True))

    def _features(
        self,
        references: dict[int, torch.Tensor],
        tokens: Mapping[int, ReferenceTokens],
        size: tuple[int, int],
        settings: SamplingSettings,
        separation: Separation | None,
    ) -> dict[int, DecoderFeatures]:
        """What the decoder reads of each reference, for pictures of (H, W), padded; none where it reads nothing."""
        return {}

    def _tokens(
        self, images: Sequence[torch.Tensor], settings: SamplingSettings, batch_size: int
    ) -> list[torch.Tensor]:
        """The image encoder's tokens (1, N, D) of each picture (3, h, w)."""
        self._visit(self.image_encoder)
        kind: Tokens = "local" if self.model.config.reference_tokens == "local" else "cls"
        tokens: list[torch.Tensor] = []
        for start in range(0, len(images), batch_size):
            batch = [
                widen(image.to(self.device), settings.reference_padding) for image in images[start : start + batch_size]
            ]
            tokens += self.image_encoder.encode(batch, kind).split(1)
        return tokens

    def _separated(
        self,
        conditions: Conditions,
        batch: Sequence[Task],
        size: tuple[int, int],
        settings: SamplingSettings,
        separation: Separation | None,
        features: Mapping[int, DecoderFeatures],
    ) -> Conditions:
        """The conditions with what parts figure from ground, for pictures of (H, W), padded."""
        return conditions

    def _hints(self, sketches: dict[int, torch.Tensor], settings: SamplingSettings) -> dict[int, Hints]:
        """The hints of each sketch, all of one size; rows of one."""
        if not sketches:
            return {}
        self._visit(self.model)
        own = torch.stack(list(sketches.values())).to(self.device)
        levels = self.model.encode_sketch(on_paper(own, self._padded(own.shape[-2:])), settings.sketch_strength)
        return dict(zip(sketches, zip(*(level.split(1) for level in levels), strict=True), strict=True))

    def _empty_hints(self, like: torch.Tensor, settings: SamplingSettings) -> Hints | None:
        """What paper of that size says, which sketch guidance needs."""
        if settings.sketch_guidance_scale == 1:
            return None
        return self._hints({0: torch.full_like(like, PAPER)}, settings)[0]

    def _injections(
        self, references: dict[int, torch.Tensor], size: tuple[int, int], settings: SamplingSettings
    ) -> dict[int, InjectionConditions]:
        """What attention injection reads of each reference, in rows of one; empty where it is off."""
        if settings.injection is None or not references:
            return {}
        self._visit(self.model, self.codec)
        return {
            n: injection_conditions(self.model, self.codec, image[None].to(self.device), size, settings.injection)
            for n, image in references.items()
        }

    def _conditions(
        self,
        batch: Sequence[Task],
        hints: dict[int, Hints],
        empty: Hints | None,
        contexts: Mapping[int, ReferenceTokens],
        injections: dict[int, InjectionConditions],
    ) -> Conditions:
        chosen = [task.reference for task in batch if task.reference is not None]  # all of a batch have one, or none
        injected = [injections[n] for n in chosen if n in injections]
        return Conditions(
            torch.cat([contexts[n].context for n in chosen]) if chosen else None,
            _joined([hints[task.sketch] for task in batch]),
            None if empty is None else _joined([empty] * len(batch)),
            _injected_together(injected) if injected else None,
        )

    def _sample(self, conditions: Conditions, seeds: Sequence[int], settings: SamplingSettings) -> torch.Tensor:
        """Padded pictures (B, 3, H', W'). Noise is drawn picture by picture on the CPU, so that neither the batch nor
        the device changes it."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        shape = (1, self.model.config.latent_channels, *conditions.hints[0].shape[-2:])
        noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators]).to(self.device)
        self._visit(self.model)
        latents = sample(self.model, conditions, noise, self.prediction_type, settings, generators, self.noise_schedule)
        check_pictures(latents, "a latent")
        self._visit(self.codec)
        return self.codec.decode(latents)

    def _padded(self, size: Sequence[int]) -> tuple[int, int]:
        """(height, width) that the networks compute for a picture of that size: whole cells of the codec, and more than
        one position at the UNet's coarsest level, over which its group norms gather."""
        cell = self.codec.config.downsampling
        height, width = (-(-side // cell) * cell for side in size)
        coarsest = cell * 2 ** (len(self.model.config.channel_multipliers) - 1)
        least = coarsest + cell if max(height, width) <= coarsest else 0
        return max(height, least), max(width, least)

    @property
    def _networks(self) -> tuple[nn.Module, ...]:
        return self.model, self.codec, self.image_encoder

    def _visit(self, *networks: nn.Module) -> None:
        if self.offload:
            self.offload.visit(*networks)


def _check(kind: str, index: int, picture: torch.Tensor) -> None:
    if picture.ndim != 3 or len(picture) != 3 or not picture.numel():
        raise ModelError(f"{kind} {index} is of shape {list(picture.shape)}, not (3, height, width)")
    if not picture.is_floating_point() or picture.abs().max() > 1.01:  # such as bytes, or what they hold as floats
        raise ModelError(f"{kind} {index} does not hold floating-point numbers in [-1, 1]")


def _references(tasks: Sequence[Task]) -> list[int]:
    return list(dict.fromkeys(task.reference for task in tasks if task.reference is not None))


def _joined(rows: Sequence[Hints]) -> Hints:
    return tuple(torch.cat(level) for level in zip(*rows, strict=True))


def _injected_together(rows: Sequence[InjectionConditions]) -> InjectionConditions:
    hints = [row.hints for row in rows if row.hints is not None]
    return InjectionConditions(torch.cat([row.reference_latents for row in rows]), _joined(hints) if hints else None)


def on_paper(sketches: torch.Tensor, size: tuple[int, int], paper: float = PAPER) -> torch.Tensor:
    """Sketches, or their masks, (B, C, H, W) in the middle of paper of that size."""
    height, width = (padded - side for padded, side in zip(size, sketches.shape[-2:], strict=True))
    return F.pad(sketches, (width // 2, width - width // 2, height // 2, height - height // 2), value=paper)


def _crop(pictures: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """The middle (B, 3, *size) that `on_paper` put there."""
    top, left = ((padded - side) // 2 for padded, side in zip(pictures.shape[-2:], size, strict=True))
    return pictures[..., top : top + size[0], left : left + size[1]]
