"""Colours the sketches in files after the references in files, block by block: read, colour in batches, write.

A sketch keeps its aspect ratio, whatever the size asked for. An input that cannot be read fails its own pictures and no
others. Each result records how it was made, so the same call again makes only what is missing or would differ.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataprep.errors import DataError
from dataprep.lines.layers import at_size, keep_lines, layers, with_line_color
from dataprep.lines.line_art import LineArt, LineArtSettings, read_line_art
from dataprep.lines.sketch_check import is_empty
from dataprep.pictures.decode import MAX_PIXELS, encode_png
from dataprep.pictures.guarded import decode, print_facts
from dataprep.pictures.print_facts import PrintFacts, from_srgb, to_srgb, with_print_facts
from dataprep.samples.sample import from_model_image, model_sketch, reference_picture, resize_sketch
from dataprep.storage.store import exists, read_bytes, write_whole
from model.checkpoint import CheckpointMetadata, expected_sha256, read_metadata
from model.colorist import Colorist as Network
from model.colorist import controls_set
from model.diffusion.sampling_settings import SamplingSettings
from model.finite import check_pictures
from pipelines.colorization.jobs import LAYERS, ColorizeJob, parts
from pipelines.colorization.parting import Masks, Pair, Parting
from pipelines.colorization.picture_settings import PictureSettings, target_size
from pipelines.colorization.provenance import Provenance, Source, Weights, embed, recorded_provenance, sha256_of
from pipelines.colorization.roles import BACKGROUND, REFERENCE
from pipelines.colorization.run_settings import RunSettings
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.common.progress import Progress, ProgressSink, silent
from pipelines.common.versions import code_version
from pipelines.extraction.line_extractor import LineExtractor, extractor_sha256
from pipelines.weights.checkpoints import absolute_checkpoint, checkpoint_uri, fetch_checkpoint
from pipelines.weights.controls import refuse
from pipelines.weights.frozen import open_colorist, weights_sha256

MOST_UNWRITTEN = 3  # pictures in a row that could not be written, before the output is given up
BLOCK = 32  # pairs read at a time: of 1024 x 1024 pixels, less than 1 GB
CPU_MEMORY = "can't allocate memory"  # the message of torch's allocator, in a plain RuntimeError
EMPTY = "there are no lines on this page: give line art, dark on light or light on dark"
COLOURED = "the sketch is a picture in colours, and was read as line art: --extract xdog first draws its lines"


@dataclass(frozen=True)
class Made:
    """A picture that is at `job.out`.

    network_width, network_height: of the network's picture, in pixels. already: it was there, made of the same. notes:
    what a person should know of its inputs.
    """

    job: ColorizeJob
    width: int
    height: int
    network_width: int
    network_height: int
    layers: tuple[str, ...] = ()
    already: bool = False
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON takes it."""
        return self.job.document() | {
            "width": self.width,
            "height": self.height,
            "network_width": self.network_width,
            "network_height": self.network_height,
            "layers": self.layers,
            "already": self.already,
            "notes": self.notes,
        }


@dataclass(frozen=True)
class Failed:
    """A picture whose input cannot be used, or whose file cannot be written, and why."""

    job: ColorizeJob
    reason: str

    def document(self) -> dict[str, Any]:
        """As JSON takes it."""
        return self.job.document() | {"reason": self.reason}


@dataclass(frozen=True)
class _Sketch:
    source: Source
    line_art: LineArt
    facts: PrintFacts
    fitted: torch.Tensor  # (3, h, w) as the model wants it

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the network's picture."""
        return self.fitted.shape[-1], self.fitted.shape[-2]


@dataclass(frozen=True)
class _Reference:
    source: Source
    picture: torch.Tensor  # (3, h, w) in [-1, 1]


@dataclass(frozen=True)
class _Inputs:
    """The files of a block of jobs by address, each read once; and why those in `broken` cannot be used.

    masks: what parts figure from ground.
    """

    sketches: dict[str, _Sketch]
    references: dict[str, _Reference]
    broken: dict[str, str]
    masks: Masks = field(default_factory=Masks)

    @property
    def pictures(self) -> dict[str, torch.Tensor]:
        """Of each reference, and background, the picture."""
        return {address: reference.picture for address, reference in self.references.items()}

    def source(self, address: str) -> Source:
        """Of a reference, or of the file of a mask."""
        return self.references[address].source if address in self.references else self.masks.files[address]


def colorize(
    jobs: Sequence[ColorizeJob],
    checkpoint: str,
    settings: PictureSettings | None = None,
    run: RunSettings | None = None,
    progress: ProgressSink = silent,
) -> Iterator[Made | Failed]:
    """Make the pictures of `jobs`, and yield what became of each as it is done.

    settings: by default the usual ones with the checkpoint's own sampling. Raises PipelineError or ModelError for a
    checkpoint, a device, settings or a reference's role that cannot be used, DataError once MOST_UNWRITTEN pictures in
    a row could not be written.
    """
    progress(Progress("colorize", 0, len(jobs), "pictures", note="reading the first inputs"))
    run = run or RunSettings()
    with advice_on_memory(run):
        colorist = Colorist(checkpoint, settings, run)
        colorist.parting.check(jobs)
        pairs = [list(pair) for _, pair in groupby(jobs, key=colorist.parting.pair)]
        blocks = (pairs[start : start + BLOCK] for start in range(0, len(pairs), BLOCK))
        outcomes = (outcome for block in blocks for outcome in colorist.make([job for pair in block for job in pair]))
        for done, outcome in enumerate(outcomes, 1):
            yield outcome
            progress(Progress("colorize", done, len(jobs), "pictures", note=Path(outcome.job.out).name))


@contextmanager
def advice_on_memory(run: RunSettings) -> Iterator[None]:
    """Memory that runs out, of a GPU or of the machine, is a PipelineError that names what to try."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and CPU_MEMORY not in str(error):
            raise
        raise PipelineError(
            f"there is not enough memory for this (--device {run.device}): try --low-memory, --precision fp16, "
            f"a --batch-size below {run.batch_size} or a smaller --size"
        ) from error


class Colorist:
    """A checkpoint with the settings of a call. Raises PipelineError or ModelError where these cannot be used."""

    def __init__(self, checkpoint: str, settings: PictureSettings | None, run: RunSettings) -> None:
        self.address = checkpoint_uri(absolute_checkpoint(checkpoint))
        self.run = run
        self._unwritten = 0
        self.device = find_device(run.device)
        self.extractor = LineExtractor(settings.extract, self.device) if settings and settings.extract else None
        self.directory = fetch_checkpoint(self.address)
        self.metadata = read_metadata(self.directory)
        self.settings = settings or PictureSettings(self.metadata.own_sampling())
        self.parting = Parting(self.address, self.metadata, self.settings, run, self.device)
        self.weights = weights_of(
            self.address, self.directory, self.metadata, ema=self.settings.ema, extract=self.settings.extract
        )

    @cached_property
    def pipeline(self) -> Network:
        """Loaded when the first picture is made, which a call that finds all there never does."""
        settings = self.settings
        home = "cpu" if settings.low_memory else self.device
        colorist = open_colorist(self.directory, home, settings.precision, settings.ema, settings.vae_precision)
        unused = controls_set(settings.sampling, SamplingSettings()) - colorist.controls
        refuse(self.address, self.metadata, sorted(unused))
        colorist.optimise(compile=self.run.compile)
        return colorist.lower_memory(device=self.device) if settings.low_memory else colorist

    def make(self, jobs: Sequence[ColorizeJob]) -> Iterator[Made | Failed]:
        """The pictures of a block of jobs, whose inputs are held together."""
        inputs = self._read(jobs)
        # What cannot be made, and what is there already, needs no network.
        wanted: dict[Pair, list[ColorizeJob]] = {}
        for job in jobs:
            if reasons := self._reasons(job, inputs):
                yield Failed(job, "; ".join(reasons))
            elif self._is_made(job, inputs):
                yield self._outcome(job, inputs, already=True)
            else:
                wanted.setdefault(self.parting.pair(job), []).append(job)
        # The rest in batches: the pairs that want the same seeds together.
        by_seeds: dict[tuple[int, ...], list[Pair]] = {}
        for pair, some in wanted.items():
            by_seeds.setdefault(tuple(dict.fromkeys(job.seed for job in some)), []).append(pair)
        for seeds, pairs in by_seeds.items():
            for pair, seed, color in self._color(inputs, seeds, pairs):
                for job in wanted[pair]:
                    if job.seed == seed:
                        yield self._written(job, color, inputs)

    def _color(
        self, inputs: _Inputs, seeds: Sequence[int], pairs: Sequence[Pair]
    ) -> Iterator[tuple[Pair, int, np.ndarray]]:
        """(pair, seed, uint8 (h, w, 3)) of each pair with each seed, in the order in which batches are best."""
        sketches = list(dict.fromkeys(pair.sketch for pair in pairs))
        references = list(dict.fromkeys(pair.reference for pair in pairs if pair.reference is not None))
        sizes = [inputs.sketches[side.picture].size for side in sketches]
        made = self.pipeline.every(
            [inputs.sketches[side.picture].fitted for side in sketches],
            [inputs.references[side.picture].picture for side in references],
            seeds,
            self.settings.sampling,
            self.run.batch_size,
            [
                (sketches.index(pair.sketch), None if pair.reference is None else references.index(pair.reference))
                for pair in pairs
            ],
            self.parting.separation(sketches, sizes, references, inputs.pictures, inputs.masks),
        )
        for colored in made:
            reference = None if colored.reference is None else references[colored.reference]
            pair = Pair(sketches[colored.sketch], reference)
            yield pair, colored.seed, from_model_image(check_pictures(colored.picture).float().numpy())

    def _reasons(self, job: ColorizeJob, inputs: _Inputs) -> list[str]:
        """Why the job's files cannot be used."""
        masks = inputs.masks.broken
        reasons = [inputs.broken[name] for name in job.inputs if name in inputs.broken]
        return reasons or [masks[mask] for mask in self.parting.wanted(job).values() if mask in masks]

    def _read(self, jobs: Sequence[ColorizeJob]) -> _Inputs:
        """Each sketch and each reference once; what is wrong with those that cannot be read."""
        inputs = _Inputs({}, {}, {})
        for address in dict.fromkeys(job.sketch for job in jobs):
            try:
                inputs.sketches[address] = self._sketch(address)
            except DataError as error:
                inputs.broken[address] = _named(address, error)
        shown = (job.references.get(role) for job in jobs for role in (REFERENCE, BACKGROUND))
        for address in dict.fromkeys(address for address in shown if address is not None):
            try:
                inputs.references[address] = self._reference(address)
            except DataError as error:
                inputs.broken[address] = _named(address, error)
        grays = {address: sketch.line_art.gray for address, sketch in inputs.sketches.items()}
        return replace(inputs, masks=self.parting.read(jobs, grays, inputs.broken))

    def _sketch(self, address: str) -> _Sketch:
        data = read_bytes(address)
        line_art = self._line_art(data)
        height, width = line_art.gray.shape
        size = target_size(self.settings.size, (width, height), (self.metadata.width, self.metadata.height))
        if is_empty(line_art.gray):
            raise DataError(EMPTY)
        if size[0] * size[1] > MAX_PIXELS:
            raise DataError(f"{size[0]}x{size[1]} pixels are more than the {MAX_PIXELS} that are coloured")
        fitted = torch.from_numpy(model_sketch(resize_sketch(line_art.gray, *size)))
        laid_over = with_line_color(line_art, self.settings.line_color)
        facts = print_facts(data) if self.settings.color_managed else PrintFacts()
        return _Sketch(Source(absolute(address), sha256_of(data)), laid_over, facts, fitted)

    def _line_art(self, data: bytes) -> LineArt:
        if self.extractor is not None:
            return self.extractor(data)
        return read_line_art(data, LineArtSettings(self.settings.polarity, self.settings.levels))

    def _reference(self, address: str) -> _Reference:
        data = read_bytes(address)
        rgb = decode(data).rgb
        if self.settings.color_managed:
            rgb = to_srgb(rgb, print_facts(data).profile)
        picture = torch.from_numpy(reference_picture(rgb))
        return _Reference(Source(absolute(address), sha256_of(data)), picture)

    def _provenance(self, job: ColorizeJob, inputs: _Inputs) -> Provenance:
        sketch = inputs.sketches[job.sketch]
        height, width = sketch.fitted.shape[-2:]
        return Provenance(
            checkpoint=self.weights,
            sketch=sketch.source,
            references={role: inputs.source(address) for role, address in job.references.items()},
            seed=job.seed,
            settings=self.settings,
            width=width,
            height=height,
            device=self.device.type,
            code_version=code_version(),
            masks=self.parting.hashes(job, inputs.masks),
        )

    def _is_made(self, job: ColorizeJob, inputs: _Inputs) -> bool:
        """Whether each of the job's files is there, by what decides its pixels; never where all is to be made again."""
        if self.run.again or not self.run.provenance:
            return False
        wanted = self._provenance(job, inputs).decisive()
        masks = self.parting.names(job)
        names = parts(self.run.layers, masks)
        found = (_recorded(file) for file in job.targets(self.run.layers, masks))
        return all(
            recorded is not None and recorded.decisive() == replace(wanted, layer=part)
            for recorded, part in zip(found, names, strict=True)
        )

    def _written(self, job: ColorizeJob, color: np.ndarray, inputs: _Inputs) -> Made | Failed:
        """The picture at its place; a name or a place that cannot take it costs this one and no other."""
        try:
            made = self._write(job, color, inputs)
        except DataError as error:
            self._unwritten += 1
            if self._unwritten == MOST_UNWRITTEN:
                raise
            return Failed(job, str(error))
        self._unwritten = 0
        return made

    def _write(self, job: ColorizeJob, color: np.ndarray, inputs: _Inputs) -> Made:
        provenance, sketch = self._provenance(job, inputs), inputs.sketches[job.sketch]
        keeps, files = self.settings.keep_lines, self.parting.files(job, inputs.pictures, inputs.masks)
        color = self.parting.without_ground(color, job, inputs.masks)
        if self.run.layers or keeps:  # in the size and the colours of the sketch's page, beside its own lines
            on_page = from_srgb(color, sketch.facts.profile)
            on_page = at_size(on_page, sketch.line_art, self.settings.enlargement)
        if self.run.layers:
            files |= layers(on_page, sketch.line_art)
        files[""] = keep_lines(on_page, sketch.line_art) if keeps else color  # last: all is there then
        for name, pixels in files.items():
            png = encode_png(pixels)
            if name in ("", *LAYERS) and (name or keeps):
                png = with_print_facts(png, sketch.facts if pixels.ndim == 3 else replace(sketch.facts, profile=None))
            target = job.layer(name) if name else job.out
            write_whole(target, embed(png, replace(provenance, layer=name)) if self.run.provenance else png)
        return self._outcome(job, inputs)

    def _outcome(self, job: ColorizeJob, inputs: _Inputs, already: bool = False) -> Made:
        sketch = inputs.sketches[job.sketch]
        network_height, network_width = sketch.fitted.shape[-2:]
        kept = sketch.line_art.gray.shape if self.settings.keep_lines else (network_height, network_width)
        return Made(
            job,
            width=kept[1],
            height=kept[0],
            network_width=network_width,
            network_height=network_height,
            layers=job.targets(self.run.layers, self.parting.names(job))[1:],
            already=already,
            notes=(COLOURED,) if sketch.line_art.coloured else (),
        )


def find_device(name: str) -> torch.device:
    """The device; "auto" is a GPU where there is one. Raises PipelineError for one that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        raise PipelineError(f"--device {name}: {str(error).splitlines()[0]}") from error
    return device


def weights_of(address: str, directory: Path, metadata: CheckpointMetadata, *, ema: bool, extract: str = "") -> Weights:
    """What a picture records of its checkpoint, which lies in `directory`, and of what drew its line art."""
    return Weights(
        address=address,
        sha256=expected_sha256(metadata, address, ema),
        stage=metadata.stage,
        size=metadata.size,
        codec=metadata.codec,
        image_encoder=metadata.image_encoder,
        codec_sha256=weights_sha256(metadata.codec, directory),
        image_encoder_sha256=weights_sha256(metadata.image_encoder, directory),
        extractor_sha256=extractor_sha256(extract) if extract else "",
        prediction_type=metadata.prediction_type,
        noise_schedule=metadata.noise_schedule,
    )


def _recorded(address: str) -> Provenance | None:
    """The provenance of a picture, None where there is none, or no picture that can be read."""
    try:
        return recorded_provenance(address) if exists(address) else None
    except DataError:
        return None


def _named(address: str, error: DataError) -> str:
    message = str(error)
    return message if address in message else f"{address}: {message}"
