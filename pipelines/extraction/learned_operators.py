"""The learned operators of a recipe: networks of model.extractors as steps that derive columns of a corpus.

Which network makes which column, what it looks at, and by which convention unless the recipe names another, is the
table here. An operator made before its weights are known (`weights_sha256` of the recipe) says everything but their
hash and cannot run: enough for a plan of costs.
"""

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dataprep.errors import DataError
from dataprep.operators.network_step import Planes
from dataprep.operators.operator import Operator, one_by_one
from dataprep.operators.outputs import JSON
from dataprep.operators.row_input import RowInput
from dataprep.operators.styles import EXTRACTED, REWORKED, StyleSettings, has_style
from dataprep.operators.without_networks import source_mask
from dataprep.pictures.decode import decode_png
from dataprep.plan.columns import classical, operators
from pipelines.common.overrides import SettingsError, nearest
from pipelines.execution.capacity import no_cuda
from pipelines.extraction.content_filter import content_names
from pipelines.recipes.build_recipe import BuildRecipe, NetworkSettings
from pipelines.weights.store import recorded_hashes, store_address, stored

if TYPE_CHECKING:
    from torch import nn

    from model.extractors.convention import Convention

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Extractor:
    """A network with the way it is fed. `weights`: names in the catalogue, one for each part of the network."""

    weights: tuple[str, ...]
    module: str  # below model.extractors
    convention: str
    version: int = 1  # raise when the same weights and settings give another result
    joined: str | None = None  # the class in that module that takes the parts, where there are several
    own_weights: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of conventions that are of other weights

    @property
    def imported(self) -> ModuleType:
        """The module itself; importing it imports torch."""
        return import_module(f"model.extractors.{self.module}")

    def weights_for(self, convention: str) -> tuple[str, ...]:
        """The weights that this convention feeds."""
        return self.own_weights.get(convention, self.weights)


EXTRACTORS: Mapping[str, Extractor] = {
    "keras": Extractor(("sketch_keras",), "lines.sketch_keras", "original-enhanced"),
    "keras_plain": Extractor(("sketch_keras",), "lines.sketch_keras", "original-plain"),
    "keras_pured": Extractor(("sketch_keras",), "lines.sketch_keras", "original-pured"),
    "manga_line": Extractor(("manga_line",), "lines.manga_line", "gray-replicate"),
    "anime2sketch": Extractor(("anime2sketch",), "lines.anime2sketch", "released"),
    "anime2sketch_improved": Extractor(("anime2sketch_improved",), "lines.anime2sketch", "released"),
    "lineart_sk": Extractor(("lineart_sk",), "lines.lineart_sk", "own-size"),
    "hed": Extractor(("hed",), "lines.hed", "repeated-border"),
    "simplified": Extractor(("anime2sketch",), "lines.anime2sketch", "released"),
    "xdog_simplified": Extractor(("simplify_gan",), "lines.simplify", "gan", own_weights={"mse": ("simplify_mse",)}),
    "isnetis": Extractor(("isnetis",), "masks.isnet", "skytnt"),
    "isnet_general": Extractor(("isnet_general",), "masks.isnet", "imgly"),
    "isnet_sketch": Extractor(("isnet_sketch",), "masks.isnet", "colorizediffusion-sketch"),
    "aesthetic": Extractor(
        ("siglip_so400m", "aesthetic_v25"), "labels.aesthetic", "squash-384", joined="AestheticScorer"
    ),
    **{
        f"wd_{name}": Extractor((f"wd_{name}",), "labels.wd_tagger", "wdv3-timm")
        for name in ("swinv2_v2", "swinv2_v3", "vit_v3", "convnext_v3", "vit_large_v3", "eva02_large_v3")
    },
}


def corpus_operators(recipe: BuildRecipe) -> tuple[Operator, ...]:
    """Every derived column of a corpus, in an order in which each finds its inputs done."""
    return operators(recipe, learned(recipe))


def learned(recipe: BuildRecipe) -> Sequence[Operator]:
    """The operators with networks, each after what it reads."""
    made = {operator.column: operator for operator in classical(recipe)}
    own: list[Operator] = []
    wanted = list(_wanted(recipe))
    _check_conventions(recipe.networks, [name for _, name, _, _ in wanted])
    for column, name, view, gives in wanted:
        operator = _operator(column, name, view, gives, recipe, made)
        made[column] = operator
        own.append(operator)
    return own


def network_names(recipe: BuildRecipe) -> list[str]:
    """The weights in model.weights.catalogue that the recipe's operators take, each once."""
    wanted = (_weights(name, recipe.networks) for _, name, _, _ in _wanted(recipe))
    return list(dict.fromkeys(weights for names in wanted for weights in names))


def with_weights(recipe: BuildRecipe) -> BuildRecipe:
    """The recipe with the hashes of the weights that the store holds, and the store's whole address: workers have
    folders and environments of their own. PipelineError names what is missing and how to have it; nothing is loaded."""
    names = list(dict.fromkeys((*network_names(recipe), *content_names(recipe))))
    if not names:
        return recipe
    networks = replace(recipe.networks, weights=store_address(recipe.networks.weights))
    hashes = tuple(stored(name, networks.weights).recorded for name in names)
    return replace(recipe, networks=networks, weights_sha256=hashes)


# ---- what an operator looks at -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """What an operator sees of a row: its picture, or the first of these columns. `None`: the row has no value."""

    columns: tuple[str, ...] = ()
    style: str | None = None  # rows that do not draw it have no value
    styles: StyleSettings = field(default_factory=StyleSettings)
    seed: int = 0

    def __call__(self, row: RowInput) -> Picture | None:
        if self.style and not has_style(row.id, self.seed, self.style, self.styles):
            return None
        if not self.columns:
            return row.picture.rgb
        found = next((value for column in self.columns if (value := row.columns[column])), None)
        if found is None:
            raise DataError(f"there is no {' or '.join(self.columns)} to look at")
        return decode_png(found)


@dataclass(frozen=True)
class UnmaskedView(View):
    """The picture, where the source says nothing of its foreground."""

    def __call__(self, row: RowInput) -> Picture | None:
        return row.picture.rgb if source_mask(row) is None else None


def _wanted(recipe: BuildRecipe) -> Iterable[tuple[str, str, View, str]]:
    """(column, name in EXTRACTORS, what it looks at, what it gives), each after what it reads."""
    styles, learned = recipe.styles, recipe.learned
    sketches = [style for style in (*EXTRACTED, *REWORKED) if styles.is_made(style)]
    for style in sketches:
        source = (f"sketch_{REWORKED[style]}",) if style in REWORKED else ()
        yield f"sketch_{style}", style, View(source, style, styles, recipe.seed), "sketch"
    if learned.mask:
        yield "mask", learned.mask, UnmaskedView(), "mask"
    if learned.sketch_mask:
        own = [operator.column for operator in classical(recipe) if operator.gives == "sketch"]
        columns = sorted(own, key=lambda column: column != "sketch_drawn")
        if not any(styles.is_everywhere(style) for style in ("xdog", "xdog_common", *sketches)):
            raise SettingsError(
                "learned.sketch_mask looks at a sketch, and no style has the share 1: some rows have none"
            )
        yield "sketch_mask", learned.sketch_mask, View((*columns, *(f"sketch_{style}" for style in sketches))), "mask"
    if learned.tagger:
        if learned.tagger not in EXTRACTORS or not learned.tagger.startswith("wd_"):
            taggers = [name for name in EXTRACTORS if name.startswith("wd_")]
            raise SettingsError(f"there is no tagger {learned.tagger!r}: {nearest(learned.tagger, taggers)}")
        yield "predicted_tags", learned.tagger, View(), JSON
    if learned.aesthetic:
        yield "aesthetic", "aesthetic", View(), JSON


# ---- the operator ------------------------------------------------------------------------------------------------


def _operator(
    column: str, name: str, view: View, gives: str, recipe: BuildRecipe, made: Mapping[str, Operator]
) -> Operator:
    extractor = EXTRACTORS[name]
    convention = _convention(name, extractor, recipe.networks)
    hashes, others = recorded_hashes(recipe.weights_sha256)
    shares = recipe.styles.wanted_by(view.style) if view.style else {}
    settings = _jsonable(convention)
    if shares and not recipe.styles.is_everywhere(view.style or ""):
        settings |= {"shares": shares, "seed": recipe.seed}
    if _holds(extractor, recipe.networks.precision):
        settings["precision"] = recipe.networks.precision
    given = {weights: hashes.get(weights) for weights in _weights(name, recipe.networks)}
    if others & given.keys():
        name += " (weights that are not the published ones)"
    step = NetworkColumn(
        extractor=extractor,
        weights=given,
        convention=convention,
        view=view,
        networks=recipe.networks,
        known=source_mask if column == "mask" else None,
    )
    return Operator(
        column=column,
        name=name,
        version=extractor.version,
        compute=one_by_one(step),
        settings=settings,
        weights="+".join(f"{weights}:{sha256}" for weights, sha256 in given.items()) if all(given.values()) else None,
        inputs=tuple(made[needed] for needed in view.columns),
        gives=gives,
        network=step,
    )


def _convention(name: str, extractor: Extractor, networks: NetworkSettings) -> "Convention":
    known: Mapping[str, Convention] = extractor.imported.CONVENTIONS
    wanted = networks.convention(name) or extractor.convention
    if wanted not in known:
        raise SettingsError(f"networks.conventions: {name} has no convention {wanted!r}: {nearest(wanted, known)}")
    return known[wanted]


def _check_conventions(networks: NetworkSettings, names: Sequence[str]) -> None:
    """SettingsError where a convention is asked for that no operator of the recipe takes."""
    for asked in (pair.split("=")[0] for pair in networks.conventions):
        if asked not in names:
            raise SettingsError(
                f"networks.conventions: no operator {asked!r} is made: {nearest(asked, names)}"
                if names
                else f"networks.conventions names {asked!r}, but this recipe takes no networks"
            )


def _weights(name: str, networks: NetworkSettings) -> tuple[str, ...]:
    extractor = EXTRACTORS[name]
    return extractor.weights_for(networks.convention(name) or extractor.convention)


def _holds(extractor: Extractor, precision: str) -> bool:
    """Whether a network of that module runs in this half precision."""
    return any(precision in getattr(member, "half_precision", ()) for member in vars(extractor.imported).values())


def _jsonable(convention: "Convention") -> dict[str, Any]:
    """The settings that a convention is; its name among them."""
    values: Any = convention
    return {"convention" if name == "name" else name: value for name, value in asdict(values).items()}


@dataclass(kw_only=True)
class NetworkColumn:
    """The three steps of an operator with a network (dataprep.operators.network_step.NetworkStep)."""

    extractor: Extractor
    weights: Mapping[str, str | None]  # name in the catalogue -> sha256
    convention: "Convention"
    view: View
    networks: NetworkSettings
    known: Callable[[RowInput], Any] | None = None  # the value of rows that need no network

    def load(self) -> None:
        """Bring the network into this process. Raises PipelineError where the store has other weights."""
        import torch

        torch.backends.cudnn.allow_tf32 = False  # float32 means float32, as on the CPU
        network = self.network()
        named = getattr(self.convention, "for_network", None)  # what a tagger's outputs mean stands in its files
        if named is not None:
            self.convention = named(network)

    def prepare(self, row: RowInput) -> Planes | None:
        picture = self.view(row)
        return None if picture is None else self.convention.prepare(picture)

    def without_network(self, row: RowInput) -> Any:
        return None if self.known is None else self.known(row)

    def run(self, batch: Planes) -> npt.NDArray[np.float32]:
        import torch

        network = self.network()
        like = next(network.parameters())
        with torch.inference_mode():
            planes = torch.from_numpy(batch).to(like.device, like.dtype)
            output: npt.NDArray[np.float32] = self.convention.infer(network, planes).float().cpu().numpy()
        return output

    def finish(self, row: RowInput, output: npt.NDArray[np.float32]) -> Any:
        height, width = row.picture.rgb.shape[:2]
        return self.convention.finish(output, (height, width))

    def network(self) -> "nn.Module":
        """The network where it runs, loaded once in a process. Raises DataError, PipelineError as `load` does."""
        import torch

        from pipelines.weights.store import load_network

        networks = self.networks
        device = "cuda" if networks.device != "cpu" and torch.cuda.is_available() else "cpu"
        if networks.device == "cuda" and device == "cpu":
            raise no_cuda(socket.gethostname())
        parts = []
        for name, sha256 in self.weights.items():
            if sha256 is None:
                raise DataError(f"the weights {name} were not looked up: with_weights(recipe) does")
            parts.append(load_network(name, sha256, networks.weights, device, networks.precision))
        if self.extractor.joined is None:
            return parts[0]
        joined: nn.Module = getattr(self.extractor.imported, self.extractor.joined)(*parts)
        return joined.eval()
