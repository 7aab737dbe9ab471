"""The plan of an evaluation: everything that decides its scores, resolved and checked before any work starts."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from dataprep.corpus.reader import CorpusReader
from dataprep.corpus.snapshot import open_snapshot
from dataprep.storage.store import check_reachable
from eval.metrics.metric import Metric
from eval.protocols.pairing import Pair, to_parquet
from model.checkpoint import CheckpointMetadata, expected_sha256, read_metadata
from model.diffusion.sampling_settings import SamplingSettings
from model.families.registry import family
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.evaluation.corpus_pairs import ReaderRows
from pipelines.evaluation.lookup import find_metric, find_protocol
from pipelines.execution.capacity import Device
from pipelines.weights.checkpoints import absolute_checkpoint, checkpoint_uri, fetch_checkpoint
from pipelines.weights.controls import check_own_controls

SPLIT = "validation"


@dataclass(frozen=True, kw_only=True)
class EvaluatePlan:
    """An evaluation that is ready to start; workers take it as it is.

    protocol, metrics: names that pipelines.evaluation.lookup finds. columns: of the corpus, colours and sketches.
    keep_features: results.parquet also holds the features of distances between distributions (2.5 kB a pair), so that
    their intervals can be had. ema: the moving average of the checkpoint's weights is scored. masks: the network parts
    figure from ground by the corpus's masks. device: what was asked for; the cluster decides what "auto" is.
    """

    protocol: str
    metrics: tuple[str, ...]
    checkpoint: str
    metadata: CheckpointMetadata
    corpus: str
    snapshot: int
    digest: str
    columns: tuple[str, ...]
    out: str
    pairs: tuple[Pair, ...]
    sampling: SamplingSettings
    seed: int
    without_reference: bool = False
    keep_features: bool = False
    ema: bool = False
    masks: bool = False
    device: Device = "auto"

    @property
    def weights_sha256(self) -> str:
        """Of the weights that are scored."""
        return expected_sha256(self.metadata, self.checkpoint, self.ema)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that decides what is measured, by dotted names and JSON-able: what an output was begun with."""
        pairing = hashlib.sha256(to_parquet(self.pairs)).hexdigest()
        named = {
            "protocol": find_protocol(self.protocol).name,
            "metrics": ", ".join(self.metrics),
            "pairs": len(self.pairs),
            "pairing": pairing[:12],
            "weights": self.weights_sha256[:12],
            "corpus": self.digest[:12],
            "seed": self.seed,
            "without_reference": self.without_reference,
            "keep_features": self.keep_features,
            **{f"sampling.{name}": value for name, value in asdict(self.sampling).items()},
        }
        found: dict[str, Any] = json.loads(json.dumps(named))
        return found

    @property
    def key(self) -> str:
        """What tells this evaluation from any other, to a process that holds its networks."""
        return hashlib.sha256(json.dumps([self.checkpoint, self.settings]).encode()).hexdigest()

    def measured(self) -> list[Metric]:
        """The metrics that these pairs can be measured by, in order."""
        return [metric for metric in map(find_metric, self.metrics) if not self._refusal(metric)]

    def not_measured(self) -> Mapping[str, str]:
        """Metric -> why these pairs cannot be measured by it."""
        return {metric.name: why for metric in map(find_metric, self.metrics) if (why := self._refusal(metric))}

    def _refusal(self, metric: Metric) -> str:
        protocol = find_protocol(self.protocol)
        return metric.refusal(protocol.name, protocol.gives, self.metadata.width, self.metadata.height)


def reads_masks(metadata: CheckpointMetadata, sampling: SamplingSettings) -> bool:
    """Whether a checkpoint's network, so sampled, parts figure from ground."""
    return "sketch_mask" in family(metadata.family).reads(sampling.mode, metadata.network)


def plan_evaluation(
    checkpoint: str,
    corpus: str,
    protocol: str,
    out: str,
    *,
    sampling: SamplingSettings,
    metrics: Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    ema: bool = False,
    device: Device = "auto",
) -> EvaluatePlan:
    """Resolve and check an evaluation before anything starts; the pairing is decided here.

    metrics: what is reported, by default what the protocol reports. ema: score the moving average of the checkpoint's
    weights. Raises SettingsError for an unknown protocol or metric, DataError, ModelError or EvalError for what is
    missing.
    """
    # what is asked for exists
    chosen = find_protocol(protocol)
    reported = tuple(chosen.metrics if metrics is None else metrics)
    for name in reported:
        find_metric(name)
    corpus, out = absolute(corpus), absolute(out)
    check_reachable(out)

    # the model
    checkpoint = checkpoint_uri(absolute_checkpoint(checkpoint))
    metadata = read_metadata(fetch_checkpoint(checkpoint))
    expected_sha256(metadata, checkpoint, ema)
    check_own_controls(checkpoint, metadata, sampling)

    # the corpus
    snapshot = open_snapshot(corpus)
    columns = ("color", *sorted(column for column in snapshot.document["operators"] if column.startswith("sketch_")))
    if masks := reads_masks(metadata, sampling):
        columns = (*columns, "mask")
        lacking, looked_at = CorpusReader(corpus, SPLIT, ["mask"], snapshot.number, facts=False).lacking("mask")
        if lacking:
            raise PipelineError(
                f"of {looked_at} held-out rows of {corpus} that were looked at, {lacking} have no mask, by which a "
                f"{metadata.family} network parts figure from ground: build it with --set learned.mask=isnetis, or "
                "score with --set mode=vanilla"
            )
    reader = CorpusReader(corpus, SPLIT, (), snapshot.number)
    if chosen.square and metadata.width != metadata.height:
        raise PipelineError(
            f"{chosen.name} draws square pictures; {checkpoint} was trained at {metadata.width}x{metadata.height}"
        )

    # the pairs
    return EvaluatePlan(
        protocol=protocol,
        metrics=reported,
        checkpoint=checkpoint,
        metadata=metadata,
        corpus=corpus,
        snapshot=snapshot.number,
        digest=snapshot.digest,
        columns=columns,
        out=out,
        pairs=tuple(chosen.pairs(ReaderRows(reader), seed, limit)),
        sampling=sampling,
        seed=seed,
        ema=ema,
        masks=masks,
        device=device,
    )
