"""Colours the pairs of a protocol and measures each result: what one evaluation worker does, without Ray.

Each pair gives one result: the columns of each metric, and the pictures where a report shows the pair. Scores are made
of the columns of all pairs by the caller, so that it does not matter which worker had which pair.
"""

import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Literal

import cv2
import numpy as np
import torch
from PIL import Image

from dataprep.corpus.reader import CorpusReader
from dataprep.lines.xdog import XDoGSettings, xdog
from dataprep.pictures.decode import encode_png
from dataprep.samples.polarity import from_model_sketch
from dataprep.samples.sample import SampleSettings, from_model_image, reference_picture
from dataprep.samples.sample_settings import V1_PICTURES
from dataprep.samples.values import Floats, model_mask
from eval.errors import EvalError
from eval.metrics.psnr import RegionMap
from eval.protocols.pairing import Pair
from eval.protocols.protocol import REFERENCE, Bytes, PreparedPair, Regions
from model.diffusion.separation import Separation
from pipelines.common.errors import PipelineError
from pipelines.common.process_memory import peak_mib, reset_peak
from pipelines.evaluation.lookup import find_protocol
from pipelines.evaluation.plan import MASKS, SKETCH, SPLIT, EvaluatePlan
from pipelines.evaluation.scoring.colorist import CheckpointColorist
from pipelines.evaluation.scoring.corpus_pairs import PairCorpus
from pipelines.evaluation.scoring.hand_over import name_of, pictures_in, read_picture
from pipelines.evaluation.scoring.views import Viewer
from pipelines.execution.capacity import no_cuda

HEAT_MAP, HOT = "_map", (196, 30, 20)  # ending of their names; where a map is 1
THUMBNAIL, THUMBNAIL_SIDE = "_jpg", 256  # ending of their names; pixels


@dataclass(frozen=True)
class PairResult:
    """What is known of one pair: metric -> column -> its value; name -> PNG where the pair is shown; view -> its
    vector, float32 (dims,), for metrics of sets; the style of the sketch; whether sketch and reference show figures;
    small pictures by name, which are kept of the best and the worst."""

    measured: Mapping[str, Mapping[str, float]]
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    vectors: Mapping[str, Floats] = field(default_factory=dict)
    style: str = ""
    pair_type: str = ""
    thumbnails: Mapping[str, bytes | None] = field(default_factory=dict)

    @property
    def row(self) -> dict[str, Any]:
        """Columns, vectors and pictures side by side. Raises EvalError where two metrics name a column alike."""
        row: dict[str, Any] = {"style": self.style, "pair_type": self.pair_type}
        for metric, columns in self.measured.items():
            if taken := sorted(columns.keys() & row.keys()):
                raise EvalError(f"{metric} has a column {taken[0]}, which another metric has too")
            row |= columns
        return {**row, **self.vectors, **self.pictures, **self.thumbnails}


@dataclass(frozen=True)
class ReadyPair:
    """One pair as the model (sketch: (3, H, W)) and the metrics take it; `given` has the original too.

    style: of the sketch; pair_type: what both show. masks: of the sketch, (1, H, W) in [0, 1], and of the reference,
    uint8 (h, w), where the model reads them.
    """

    sketch: Floats
    style: str
    references: Mapping[str, Bytes]
    given: Mapping[str, Bytes | np.ndarray | Regions | str]
    masks: tuple[Floats, Bytes] | None = None
    pair_type: str = ""

    @property
    def truth(self) -> Bytes:
        """What is shown as the truth: the right answer, or the original where there is none."""
        picture = self.given.get("truth", self.given["original"])
        assert isinstance(picture, np.ndarray)
        return picture


class PairReader:
    """Reads the pictures of pairs; needs no network."""

    def __init__(self, plan: EvaluatePlan) -> None:
        self.plan, self.protocol = plan, find_protocol(plan.protocol)
        settings = SampleSettings(
            width=plan.width,
            height=plan.height,
            styles=tuple(column.removeprefix(SKETCH) for column in plan.columns if column.startswith(SKETCH)),
            pictures=(*V1_PICTURES, *(["mask"] if "mask" in plan.columns else [])),
        )
        self.corpus = PairCorpus(
            CorpusReader(plan.corpus, SPLIT, plan.columns, plan.snapshot), settings, squashed=plan.resize == "squash"
        )

    def prepare(self, pair: Pair) -> ReadyPair:
        """What the model and the metrics take of a pair. EvalError for a protocol that gives less than it says."""
        pictures = self.corpus.pictures(pair)
        prepared: PreparedPair = self.protocol.prepare(pair, pictures)
        if absent := sorted(set(self.protocol.gives) - set(prepared.given)):
            raise EvalError(f"protocol {self.protocol.name} gives {', '.join(absent)} of its pairs, but not of {pair}")
        given = {
            "original": pictures.original,
            "reference": prepared.references[REFERENCE],
            "text": pictures.text,
            **prepared.given,
        }
        if "sketch_lines" in self.plan.needed:
            given["sketch_lines"] = pictures.sketch.mean(axis=0) > 0
        if MASKS & self.plan.needed:
            given["sketch_mask"] = pictures.sketch_mask[0] > 0.5
            given["reference_mask"] = self._reference_mask(prepared) > 127
        masks = None
        if self.plan.masks:
            masks = pictures.sketch_mask, self._reference_mask(prepared)
        return ReadyPair(pictures.sketch, pictures.style, prepared.references, given, masks, pictures.pair_type)

    def _reference_mask(self, prepared: PreparedPair) -> Bytes:
        if REFERENCE not in prepared.masks:
            raise EvalError(f"protocol {self.protocol.name} gives no mask of its reference, which is needed")
        return prepared.masks[REFERENCE]()


class PairScorer:
    """Holds the networks and the corpus; called with pairs it returns one result for each.

    device: where it computes. Raises PipelineError where that is a GPU and none is visible.
    """

    def __init__(self, plan: EvaluatePlan, threads: int = 1, device: Literal["cpu", "cuda"] = "cpu") -> None:
        torch.set_num_threads(threads)
        if device == "cuda" and not torch.cuda.is_available():
            raise no_cuda(socket.gethostname())
        self.plan, self.metrics = plan, plan.measured()
        self.ranked = not all(metric.vectors for metric in self.metrics)  # some pairs may be the best or the worst
        self.device = torch.device(device)
        self.colorist, self.theirs = None, dict[str, str]()
        if plan.pictures:
            self.theirs = pictures_in(plan.pictures)
        else:
            self.colorist = CheckpointColorist(plan.checkpoint, self.device, ema=plan.ema)
        self.views = Viewer(plan.views, plan.networks, plan.store, device)
        self.reader = PairReader(plan)

    def __call__(self, pairs: Sequence[Pair], shown: Sequence[bool]) -> list[PairResult]:
        """Colour `pairs` in one batch and measure each; pictures are kept where `shown`."""
        ready = [self.reader.prepare(pair) for pair in pairs]
        with Cost(self.device) as cost:
            results = self.results(pairs, ready)
        # measure the uint8 pictures that a person gets
        given = self.given(ready, results, cost, [pair.seed for pair in pairs])
        measured = self.measure(given, len(pairs))
        maps = self.heat_maps(given, results) if any(shown) else [{} for _ in pairs]
        return [
            PairResult(
                measured[i],
                _pictures(ready[i], results[i]) | maps[i] if keep else {},
                {name: given[name][i].numpy() for name in self.plan.vectors},
                ready[i].style,
                ready[i].pair_type,
                _thumbnails(ready[i], results[i]) if self.ranked else {},
            )
            for i, keep in enumerate(shown)
        ]

    def results(self, pairs: Sequence[Pair], ready: Sequence[ReadyPair]) -> list[Bytes]:
        """The results of a batch, uint8 (H, W, 3), as a person gets them: coloured here, or those of another system."""
        if self.colorist is None:
            names = [name_of(pair) for pair in pairs]
            if absent := [name for name in names if name not in self.theirs]:
                raise PipelineError(
                    f"{self.plan.pictures} has no {absent[0]}.png for this worker: all machines must reach the folder"
                )
            return [read_picture(self.theirs[name], self.plan.width, self.plan.height) for name in names]
        return self.color(ready, [pair.seed for pair in pairs])

    def color(self, ready: Sequence[ReadyPair], seeds: Sequence[int], alone: bool = False) -> list[Bytes]:
        """The results of a batch that is coloured here, with one seed each; alone: without a reference."""
        assert self.colorist is not None
        references = {} if alone or self.plan.without_reference else _by_role(ready)
        made = self.colorist(_sketches(ready), references, seeds, self.plan.sampling, _separation(ready))
        return [from_model_image(picture) for picture in made.cpu().numpy()]

    def given(
        self, ready: Sequence[ReadyPair], results: Sequence[Bytes], cost: "Cost", seeds: Sequence[int] = ()
    ) -> dict[str, Any]:
        """All that metrics take of a batch by name: `result`, what pairs give, and how networks see both. Results are
        uint8 (H, W, 3); seeds: of their noise, for what is coloured again without a reference."""
        needed = self.plan.needed
        given: dict[str, Any] = {"result": unit(results), **cost.given(len(ready))}
        if "result_lines" in needed:
            given["result_lines"] = torch.from_numpy(np.stack([_lines(result) for result in results]))
        if "unreferenced" in needed:
            given["unreferenced"] = unit(self.color(ready, seeds, alone=True))
        if "denoiser_divergence" in needed:
            assert self.colorist is not None
            given["denoiser_divergence"] = self.colorist.divergence(
                _sketches(ready), _by_role(ready), seeds, self.plan.sampling, _separation(ready)
            )
        given |= {name: _collated([item.given[name] for item in ready]) for name in needed if name not in given}
        if isinstance(given.get("reference"), torch.Tensor):
            given["reference"] = list(given["reference"])
        return given | self.views(given)

    def heat_maps(self, given: Mapping[str, Any], results: Sequence[Bytes]) -> list[dict[str, bytes]]:
        """Of each result, name -> PNG: where each metric that can say so looks."""
        found: list[dict[str, bytes]] = [{} for _ in results]
        for metric in (metric for metric in self.metrics if metric.heat_map):
            assert metric.heat_map is not None
            maps = metric.heat_map(given["result"], *(given[need] for need in metric.needs))
            for own, result, places in zip(found, results, maps, strict=True):
                own[f"{metric.name}{HEAT_MAP}_png"] = encode_png(_heated(result, places))
        return found

    def measure(self, given: Mapping[str, Any], count: int) -> list[dict[str, dict[str, float]]]:
        """Metric -> column -> value, of each of so many pairs; given: as `given` gives it."""
        columns = {
            metric.name: {
                column: values.tolist()
                for column, values in metric.measure(given["result"], *(given[need] for need in metric.needs)).items()
            }
            for metric in self.metrics
        }
        return [
            {name: {column: values[i] for column, values in own.items()} for name, own in columns.items()}
            for i in range(count)
        ]


class Cost:
    """What the work of a `with` costs: time, and the most memory in use, of the GPU or, without one, the process."""

    def __init__(self, device: torch.device) -> None:
        self._device, self.seconds, self.memory_mib = device, 0.0, 0.0

    def __enter__(self) -> "Cost":
        if self._device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        else:
            reset_peak()
        self._started = time.perf_counter()
        return self

    def __exit__(self, *failed: object) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
            self.memory_mib = torch.cuda.max_memory_allocated() / 2**20
        else:
            self.memory_mib = peak_mib()
        self.seconds = time.perf_counter() - self._started

    def given(self, count: int) -> dict[str, torch.Tensor]:
        """As metrics take it, for each of so many pairs."""
        return {
            "seconds": torch.full((count,), self.seconds / count, dtype=torch.float64),
            "memory_mib": torch.full((count,), self.memory_mib, dtype=torch.float64),
        }


def _separation(ready: Sequence[ReadyPair]) -> Separation | None:
    """The masks of a batch as the model takes them."""
    masks = [item.masks for item in ready if item.masks is not None]
    if not masks:
        return None
    references = [torch.from_numpy(model_mask(reference)) for _, reference in masks]
    return Separation([torch.from_numpy(sketch) for sketch, _ in masks], references)


def unit(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """uint8 (H, W, 3) pictures as float32 (B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def _collated(values: Sequence[Any]) -> Any:
    """What pairs give under one name, as a batch: pictures in [0, 1] (one by one where their sizes differ), maps
    stacked (B, H, W), a region map, or texts."""
    first = values[0]
    if isinstance(first, str):
        return list(values)
    if isinstance(first, Regions):
        return RegionMap(torch.from_numpy(np.stack([value.classes for value in values])), first.names)
    if any(value.shape != first.shape for value in values):
        return [unit([value])[0] if value.ndim == 3 else torch.from_numpy(value) for value in values]
    return unit(values) if first.ndim == 3 else torch.from_numpy(np.stack(values))


def _sketches(ready: Sequence[ReadyPair]) -> torch.Tensor:
    """The sketches of a batch as a model takes them."""
    return torch.from_numpy(np.stack([item.sketch for item in ready]))


def _by_role(ready: Sequence[ReadyPair]) -> dict[str, list[torch.Tensor]]:
    """Role -> the references of all pairs as a model takes them."""
    return {
        role: [torch.from_numpy(reference_picture(item.references[role])) for item in ready]
        for role in ready[0].references
    }


def _lines(result: Bytes) -> np.ndarray:
    """The lines that a result shows, bool (H, W), by XDoG with RASC's numbers."""
    gray = cv2.cvtColor(np.ascontiguousarray(result), cv2.COLOR_RGB2GRAY)
    return np.asarray(xdog(gray.astype(np.uint8), XDoGSettings()) < 128)


def _heated(result: Bytes, places: torch.Tensor) -> Bytes:
    """The result in grey, and over it, the more the redder, a map (h, w) in [0, 1]."""
    height, width = result.shape[:2]
    heat = cv2.resize(places.float().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)[..., None].clip(0, 1)
    gray = 128 + cv2.cvtColor(np.ascontiguousarray(result), cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32) / 2
    return np.rint(gray * (1 - heat) + np.array(HOT, np.float32) * heat).astype(np.uint8)


def _thumbnails(item: ReadyPair, result: Bytes) -> dict[str, bytes]:
    """The same small, as JPEG."""
    sketch = np.repeat(from_model_sketch(item.sketch)[..., None], 3, axis=2)
    shown = {"sketch": sketch, **item.references, "result": result, "truth": item.truth}
    return {f"{name}{THUMBNAIL}": _small(picture) for name, picture in shown.items()}


def _small(picture: Bytes) -> bytes:
    image = Image.fromarray(picture)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    data = BytesIO()
    image.save(data, "JPEG", quality=85)
    return data.getvalue()


def _pictures(item: ReadyPair, result: Bytes) -> dict[str, bytes]:
    """The pictures of one pair as PNG: the sketch in the human convention, the rest as they are."""
    references = {f"{role}_png": encode_png(picture) for role, picture in item.references.items()}
    return {
        "sketch_png": encode_png(from_model_sketch(item.sketch)),
        **references,
        "result_png": encode_png(result),
        "truth_png": encode_png(item.truth),
    }
