"""The plan of an evaluation: everything that decides its scores, resolved and checked before any work starts."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from dataprep.corpus.reader import CorpusReader
from dataprep.corpus.snapshot import open_snapshot
from dataprep.documents import read_document
from dataprep.storage.store import check_reachable, exists, join, read_bytes
from eval.metrics.metric import Metric
from eval.metrics.sets.frechet import BothSets
from eval.metrics.views import given_names, parse
from eval.protocols.pairing import Pair, to_parquet
from eval.protocols.protocol import PublishedSettings
from eval.protocols.user_pairs import USER_PAIRS, read_pairs
from model.checkpoint import CheckpointMetadata, expected_sha256
from model.diffusion.sampling_settings import SamplingSettings
from model.families.registry import family
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError, nearest
from pipelines.evaluation import real_statistics
from pipelines.evaluation.lookup import find_metric, find_protocol
from pipelines.evaluation.scoring.corpus_pairs import ReaderRows
from pipelines.evaluation.scoring.hand_over import checked_pictures
from pipelines.evaluation.scoring.views import absent, identity, weights_of
from pipelines.execution.capacity import Device
from pipelines.weights.checkpoints import absolute_checkpoint, checkpoint_uri, metadata_at
from pipelines.weights.controls import check_own_controls
from pipelines.weights.store import command_to_get, store_address

SPLIT, SKETCH, SETTINGS = "validation", "sketch_", "evaluation.json"
Resize = Literal["cover", "squash"]
# What only a model that colours here gives.
OF_MODELS = {"unreferenced", "denoiser_divergence", "seconds", "memory_mib"}
MASKS = {"sketch_mask", "reference_mask"}


@dataclass(frozen=True, kw_only=True)
class EvaluatePlan:
    """An evaluation that is ready to start; workers take it as it is.

    protocol, metrics: names that pipelines.evaluation.lookup finds. columns: of the corpus, colours and sketches.
    width, height: of the results in pixels; resize: how pictures of another shape come to it, cut at the centre or
    squashed. store, networks: where the weights of feature networks lie, and the sha256 of each; absent: metric -> why
    it has none. real: the feature networks whose statistics of the real pictures were in the corpus when the evaluation
    began, with their addresses. keep_features: the features of sets are kept as a file. reuse: the output of another
    evaluation whose features are scored, and nothing coloured. small_sets: scores of fewer pairs than a metric asks for
    are given, under names of their own. pictures: the folder of another system's results that are scored, with a hash
    of what it held; there is no checkpoint then. ema: the moving average of the checkpoint's weights is scored. masks:
    the network parts figure from ground by the corpus's masks. device: what was asked for; the cluster decides what
    "auto" is.
    """

    protocol: str
    metrics: tuple[str, ...]
    width: int
    height: int
    checkpoint: str
    metadata: CheckpointMetadata | None
    corpus: str
    snapshot: int
    digest: str
    columns: tuple[str, ...]
    out: str
    pairs: tuple[Pair, ...]
    sampling: SamplingSettings
    seed: int
    without_reference: bool = False
    resize: Resize = "cover"
    store: str = ""
    networks: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    real: Mapping[str, str] = field(default_factory=dict)
    keep_features: bool = False
    small_sets: bool = False
    reuse: str = ""
    pictures: str = ""
    pictures_sha256: str = ""
    ema: bool = False
    masks: bool = False
    device: Device = "auto"

    @property
    def weights_sha256(self) -> str:
        """Of the weights that are scored, or of another system's pictures."""
        if self.metadata is None:
            return self.pictures_sha256
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
            "size": f"{self.width}x{self.height}",
            "resize": self.resize,
            "styles": ", ".join(name.removeprefix(SKETCH) for name in self.columns if name.startswith(SKETCH)),
            "keep_features": self.keep_features,
            "small_sets": self.small_sets,
            "feature_networks": ", ".join(self.feature_networks),
            "real_statistics": ", ".join(self.real),
            "reuse": self.reuse,
            **{f"sampling.{name}": value for name, value in asdict(self.sampling).items()},
        }
        found: dict[str, Any] = json.loads(json.dumps(named))
        return found

    @property
    def key(self) -> str:
        """What tells this evaluation from any other, to a process that holds its networks."""
        return hashlib.sha256(json.dumps([self.checkpoint, self.settings]).encode()).hexdigest()

    @cached_property
    def vectors(self) -> tuple[str, ...]:
        """The views whose vectors are kept of each pair."""
        wanted = [view for metric in self.measured() for view in metric.vectors]
        known = {f"original@{network}" for network in self.real}
        return tuple(dict.fromkeys(view for view in wanted if view not in known))

    @cached_property
    def views(self) -> tuple[str, ...]:
        """All views that are computed."""
        needed = [need for metric in self.measured() for need in metric.needs if parse(need)]
        return tuple(dict.fromkeys((*needed, *self.vectors)))

    @cached_property
    def needed(self) -> frozenset[str]:
        """The names of what metrics take of a pair, whether as it is or as a network sees it."""
        names = (*(need for metric in self.measured() for need in metric.needs), *self.vectors)
        return frozenset(part for name in names for part in given_names(name))

    @property
    def feature_networks(self) -> list[str]:
        """Name and hash of each feature network that is asked."""
        names = dict.fromkeys(network for metric in self.measured() for network in metric.networks)
        return [identity(name, self.networks) for name in names]

    def measured(self) -> list[Metric]:
        """The metrics that these pairs can be measured by, in order."""
        return [metric for metric in map(find_metric, self.metrics) if not self._refusal(metric)]

    def not_measured(self) -> Mapping[str, str]:
        """Metric -> why these pairs cannot be measured by it."""
        return {metric.name: why for metric in map(find_metric, self.metrics) if (why := self._refusal(metric))}

    def _refusal(self, metric: Metric) -> str:
        protocol = find_protocol(self.protocol)
        refusal = metric.refusal(protocol.name, protocol.gives, self.width, self.height)
        if self.pictures and (own := OF_MODELS.intersection(metric.given)):
            return f"{metric.name} needs {', '.join(sorted(own))}, which another system's pictures do not have"
        return refusal or self.absent.get(metric.name, "")


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
    size: tuple[int, int] | None = None,
    resize: Resize | None = None,
    style: str = "",
    given_pairs: str = "",
    seed: int = 0,
    ema: bool = False,
    without_reference: bool = False,
    keep_features: bool = False,
    small_sets: bool = False,
    reuse: str = "",
    pictures: str = "",
    device: Device = "auto",
) -> EvaluatePlan:
    """Resolve and check an evaluation before anything starts; the pairing is decided here.

    metrics: what is reported, by default what the protocol reports. size: (width, height) of the results, by default
    the protocol's, else as the checkpoint was trained. style: of the sketches, by default the first that a row has, in
    the order of the alphabet. given_pairs: address of the table that user-pairs takes. pictures: folder of another
    system's results (pipelines.evaluation.scoring.hand_over), which are scored in place of a checkpoint. ema: score the
    moving average of the checkpoint's weights. Raises SettingsError for an unknown protocol or metric, PipelineError
    for a metric that was asked for by name and whose weights are not in the store, DataError, ModelError or EvalError
    for what is missing.
    """
    # what is asked for exists
    chosen = find_protocol(protocol)
    reported = tuple(chosen.metrics if metrics is None else metrics)
    asked = {name: find_metric(name) for name in reported}
    corpus, out, store = absolute(corpus), absolute(out), store_address()
    check_reachable(out)
    lacking = {name: weights for name, metric in asked.items() if (weights := absent(metric.networks, store))}
    if metrics is not None:
        for name in lacking:
            weights_of(asked[name].networks, store)  # says what is lacking, and how to get it

    # the model, or the results of another
    stated = chosen.settings or PublishedSettings(None, None, "cover", {})
    metadata, trained = None, None
    if not pictures:
        checkpoint = checkpoint_uri(absolute_checkpoint(checkpoint))
        metadata = metadata_at(checkpoint)
        expected_sha256(metadata, checkpoint, ema)
        check_own_controls(checkpoint, metadata, sampling)
        trained = metadata.width, metadata.height
    found_size = size or stated.size or trained
    if found_size is None:
        raise SettingsError("pictures of another system are scored at a size that is given: --size WxH")
    width, height = found_size
    if chosen.square and width != height:
        raise PipelineError(f"{chosen.name} draws square pictures, and these would be {width}x{height}")

    # the corpus
    snapshot = open_snapshot(corpus)
    there = sorted(column for column in snapshot.document["operators"] if column.startswith(SKETCH))
    if style and SKETCH + style not in there:
        styles = [column.removeprefix(SKETCH) for column in there]
        raise SettingsError(f"{corpus} has no sketches of the style {style!r}: {nearest(style, styles)}")
    columns = ("color", *([SKETCH + style] if style else there))
    if style:
        _check_column(corpus, snapshot.number, SKETCH + style, f"sketch of the style {style}", "choose another --style")
    if masks := metadata is not None and reads_masks(metadata, sampling):
        assert metadata is not None
        columns = (*columns, "mask")
        what = f"mask, by which a {metadata.family} network parts figure from ground"
        mend = "build it with --set learned.mask=isnetis, or score with --set mode=vanilla"
        _check_column(corpus, snapshot.number, "mask", what, mend)
    by_masks = [name for name, metric in asked.items() if MASKS.intersection(metric.given)]
    if by_masks and not masks:
        columns = (*columns, "mask")
        what = f"mask, by which {', '.join(by_masks)} tells figure from ground"
        _check_column(corpus, snapshot.number, "mask", what, "build it with --set learned.mask=isnetis")
    reader = CorpusReader(corpus, SPLIT, (), snapshot.number)

    # the pairs
    if limit is not None and limit < 1:
        raise SettingsError(f"limit is at least 1, not {limit}")
    if given_pairs:
        if chosen is not USER_PAIRS:
            raise SettingsError(f"--pairs is of --protocol user-pairs, not of {chosen.name}")
        pairs = read_pairs(read_bytes(absolute(given_pairs)), reader.ids, seed)[:limit]
    else:
        pairs = chosen.pairs(ReaderRows(reader), seed, stated.pairs if limit is None else limit)
    plan = EvaluatePlan(
        protocol=protocol,
        metrics=reported,
        checkpoint="" if pictures else checkpoint,
        metadata=metadata,
        width=width,
        height=height,
        resize=resize or stated.resize,
        corpus=corpus,
        snapshot=snapshot.number,
        digest=snapshot.digest,
        columns=columns,
        out=out,
        pairs=tuple(pairs),
        sampling=sampling,
        seed=seed,
        store=store,
        absent={name: _not_stored(weights) for name, weights in lacking.items()},
        ema=ema,
        without_reference=without_reference,
        keep_features=keep_features,
        small_sets=small_sets,
        reuse=absolute(reuse) if reuse else "",
        pictures=absolute(pictures) if pictures else "",
        pictures_sha256=checked_pictures(absolute(pictures), pairs) if pictures else "",
        masks=masks,
        device=device,
    )
    networks = [network for metric in plan.measured() for network in metric.networks]
    plan = replace(plan, networks=weights_of(networks, store))
    return replace(plan, real=_known_real(plan))


def _check_column(corpus: str, snapshot: int, column: str, what: str, mend: str) -> None:
    """Raises PipelineError where held-out rows lack it."""
    lacking, looked_at = CorpusReader(corpus, SPLIT, [column], snapshot, facts=False).lacking(column)
    if lacking:
        raise PipelineError(
            f"of {looked_at} held-out rows of {corpus} that were looked at, {lacking} have no {what}: {mend}"
        )


def _not_stored(weights: Sequence[str]) -> str:
    commands = "; ".join(command_to_get(name) for name in weights)
    return f"the weights {', '.join(weights)} are not in the store: {commands}"


# ---- statistics of the real pictures --------------------------------------------------------------------------------


def real_address(plan: EvaluatePlan, network: str) -> str:
    """Where the statistics of the plan's real pictures, seen by that network, lie beside their snapshot."""
    sketches = hashlib.sha256(json.dumps([pair.sketch_id for pair in plan.pairs]).encode()).hexdigest()
    size = [plan.width, plan.height, plan.resize]
    return real_statistics.address(plan.corpus, plan.digest, [sketches, size, identity(network, plan.networks)])


def placed(plan: EvaluatePlan, out: str) -> EvaluatePlan:
    """The same evaluation with another output."""
    moved = replace(plan, out=absolute(out), real={})
    return replace(moved, real=_known_real(moved))


def _known_real(plan: EvaluatePlan) -> dict[str, str]:
    """Feature network -> address of the statistics that take the place of the real pictures' features.

    Where the evaluation was begun before, it goes on as it was begun.
    """
    if plan.keep_features:
        return {}
    begun = join(plan.out, SETTINGS)
    recorded = read_document(begun, dict[str, Any]).get("real_statistics") if exists(begun) else None
    alone = dict[str, bool]()  # whether nothing but sums is read of a network's vectors
    for metric in plan.measured():
        if metric.vectors:
            network = metric.networks[0]
            alone[network] = alone.get(network, True) and isinstance(metric.collector(), BothSets)
    found = {}
    for network in (network for network, sums in alone.items() if sums):
        uri = real_address(plan, network)
        if exists(uri) if recorded is None else network in recorded.split(", "):
            found[network] = uri
    return found
