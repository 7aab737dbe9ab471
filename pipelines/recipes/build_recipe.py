"""The recipe of a corpus build: what the corpus holds, and where and how the networks run that derive its columns."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dataprep.plan.corpus_recipe import CorpusRecipe
from model.precision import AnyPrecision, spelled_out


@dataclass(frozen=True)
class NetworkSettings:
    """Where and how networks run; only `precision` and `conventions` may change a result and are in fingerprints.

    A GPU actor takes 1 / `per_gpu` of a GPU, so that decoding and encoding on several cores keep one GPU busy. A batch
    holds pictures of one input size, as many as fit `batch_megapixels` (at least one).
    """

    weights: str = ""  # the weight store, a folder or s3:// prefix; empty: that of the environment or the user's cache
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: GPUs where there are any or the cluster can bring them
    actors: int = 0  # processes that hold networks; 0: on GPUs as many as fit, on CPUs none unless `cpus` is above 1
    cpus: int = 1  # of each actor, and the threads of its network
    per_gpu: int = 6  # actors that share a GPU
    batch_megapixels: float = 0.0  # 0: 4 on a GPU, one picture at a time on a CPU, which batches do not speed up
    window: int = 32  # pictures of a shard that are decoded at a time
    precision: AnyPrecision = "float32"  # half: where 1e-2 holds
    conventions: tuple[str, ...] = ()  # "operator=name", where a network is published with several

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", spelled_out(self.precision))  # as stored, whichever was given
        for name in ("cpus", "per_gpu", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch_megapixels < 0 or self.actors < 0:
            raise ValueError("batch_megapixels and actors must be at least 0")
        for pair in self.conventions:
            if pair.count("=") != 1:
                raise ValueError(f"a convention is operator=name, got {pair!r}")
        if len({pair.split("=")[0] for pair in self.conventions}) < len(self.conventions):
            raise ValueError(f"one convention for each operator, got {', '.join(self.conventions)}")

    def convention(self, operator: str) -> str | None:
        """The convention that was asked for, None for the operator's own default."""
        return dict(pair.split("=") for pair in self.conventions).get(operator)


@dataclass(frozen=True)
class BuildRecipe(CorpusRecipe):
    """Everything that decides what a build makes and how, but for its sources; all of it stands in the snapshot."""

    networks: NetworkSettings = field(default_factory=NetworkSettings)

    def document(self) -> dict[str, Any]:
        """All settings, nested; `networks` behind `learned`, where documents have always had it."""
        settings = asdict(self)
        names = [name for name in settings if name != "networks"]
        names.insert(names.index("learned") + 1, "networks")
        return {name: settings[name] for name in names}
