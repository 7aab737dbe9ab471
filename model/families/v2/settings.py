"""What v2's method adds to a stage's recipe: which parts act and are trained, and how figure and ground are shown."""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

from model.backbone.split_attention import Lora
from model.families.family import Phase
from model.families.v1.settings import METHOD
from model.families.v1.settings import check_parent as check_v1_parent
from model.families.v1.settings import same_size as same_v1_size
from model.families.v1.sizes import V1Config
from model.families.v2.sizes import V2_SIZES, V2Config
from model.families.v15.settings import OWN, PartedSettings
from model.setting import check_choice, setting

Part = Literal["backbone", "split", "background", "style"]
PhaseName = Literal["whole", "noisy", "refine", "split", "background", "style", "joint", "joint-style"]
Preset = Literal["000", "thesis"]


class Role(NamedTuple):
    """What one phase of the training is: the parts that act beside the backbone, and those that are trained."""

    acting: frozenset[Part]
    trained: frozenset[Part]


def _role(acting: str, trained: str) -> Role:
    parts = {name: name for name in get_args(Part)}
    return Role(*(frozenset(parts[name] for name in names.split()) for names in (acting, trained)))


ROLES: dict[str, Role] = {
    "noisy": _role("", "backbone"),
    "refine": _role("", "backbone"),
    "split": _role("split", "split"),
    "background": _role("split background", "split background"),
    "style": _role("split background style", "style"),
    "joint": _role("split background style", "backbone split background style"),
    "joint-style": _role("style", "backbone style"),
}


@dataclass(frozen=True, kw_only=True)
class V2Settings(PartedSettings):
    """ "Separating Reference Representations" III.E, thesis 5.6.1, released code.

    phase: what is trained (`ROLES`); each stage has its own. lora: V2Config's; "own": as the size has it.
    split_encoders: V2Config's. reference_drop is of the UNet's tokens alone: encoders see every reference.

    Background bleaching (released code): with blank_sketch the sketch is paper outside its figure; of bleached_share of
    the samples the picture is white there too, and the background's reference is a flat near-white. Character-mask
    merging (a rule of ours; the paper names it alone): of merged_share of the samples the figure's mask that whitens
    the reference is joined with the sketch's, moved sideways by chance, so that the sketch has ground of which the
    reference shows nothing. active_share: of the samples in which parts act that the style's stage does not train.
    """

    phase: PhaseName = "background"
    lora: Literal["own", "off", "thesis", "paper-000", "released-v15", "released-v2"] = "own"
    split_encoders: bool = False
    blank_sketch: bool = False
    bleached_share: float = setting(
        0.0, help="Share of the samples whose background is bleached.", panel=METHOD, least=0, most=1
    )
    merged_share: float = setting(
        0.0, help="Share of the samples whose masks are merged.", panel=METHOD, least=0, most=1
    )
    active_share: float = setting(
        0.5, help="Share of the samples in which untrained parts act.", panel=METHOD, least=0, most=1
    )

    PHASES = ("background", "style", "joint", "joint-style")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("phase", self.phase, self.PHASES)
        check_choice("lora", self.lora, (OWN, *get_args(Lora)))
        if self.split_encoders and (self.lora == "off" or "split" not in self.role.acting):
            raise ValueError(
                "split_encoders needs split attention with low-rank updates, which "
                f"{'lora=off' if self.lora == 'off' else f'phase={self.phase}'} has not"
            )

    @property
    def role(self) -> Role:
        """What acts and what is trained."""
        return ROLES[self.phase]

    def network(self, size: V1Config) -> V2Config:
        """The network of that size that a stage of these settings trains."""
        assert isinstance(size, V2Config)
        acting = self.role.acting
        lora: Lora = size.lora if self.lora == "own" else self.lora
        return replace(
            size,
            lora=lora if "split" in acting else "off",
            background="background" in acting,
            style="style" in acting,
            split_encoders=self.split_encoders and bool(acting & {"background", "style"}),
        )


# What a phase decides itself, with what a recipe of a whole stage has in its place.
OF_PHASES: dict[str, Any] = {"noisy_reference": True, "reference_drop": 0.5, "sketch_drop": 0.0}


@dataclass(frozen=True, kw_only=True)
class BackboneSettings(V2Settings):
    """`v2.backbone`: one stage of three phases, each of which begins where the one before it ended.

    noisy and refine are v1's two stages, all of whose network is trained; split trains the low-rank updates of a split
    attention over it. preset "000": 80 % of the references are dropped in the first and 50 % in the second, and the
    split attention follows (III.E); "thesis": 10 % and 50 %, and the split attention is left to `v2.background`
    (5.6.1). phase_shares: of the stage's images, noisy : refine : split; the first two are v1's epochs, the last is
    ours. phase_drops: of the references in each, instead of the preset's. A parent that has been refined skips the
    first two. phase: "whole", or one of them alone.
    """

    phase: PhaseName = "whole"
    noisy_reference: bool = True
    preset: Preset = "000"
    phase_shares: tuple[float, ...] = (5.0, 2.0, 1.0)
    phase_drops: tuple[float, ...] = ()

    PHASES = ("whole", "noisy", "refine", "split")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("preset", self.preset, get_args(Preset))
        if len(self.phase_shares) != 3 or min(self.phase_shares) < 0 or not sum(self.phase_shares):
            raise ValueError("phase_shares are three numbers, none below 0: noisy, refine and split")
        if self.phase_drops and (
            len(self.phase_drops) != 3 or not 0 <= min(self.phase_drops) <= max(self.phase_drops) <= 1
        ):
            raise ValueError("phase_drops are three numbers within 0..1: noisy, refine and split")
        if self.phase == "split" and self.lora == "off":
            raise ValueError("phase=split trains low-rank updates: lora is off")

    @property
    def role(self) -> Role:
        """Of the last phase, where it is all of them."""
        return ROLES[self.last if self.phase == "whole" else self.phase]

    @property
    def last(self) -> PhaseName:
        """The phase that a whole stage ends with."""
        return "split" if self.preset == "000" else "refine"

    def phases(self, refined: bool) -> list[Phase]:
        """Of a whole stage, or the one that is trained alone; refined: the parent has been, so that only what follows
        is left. Empty where nothing is. Raises ValueError for settings that are each phase's own."""
        for name, usual in OF_PHASES.items():
            if getattr(self, name) != usual:
                raise ValueError(f"{name} is each phase's own: of the references give phase_drops, three numbers")
        drops = self.phase_drops or {"000": (0.8, 0.5, 0.5), "thesis": (0.1, 0.5, 0.5)}[self.preset]
        clean: dict[str, Any] = {"noisy_reference": False, "flip_above": 0.0}
        every: dict[str, dict[str, Any]] = {
            "noisy": {"noisy_reference": True, "reference_drop": drops[0], "sketch_drop": 0.0},
            "refine": {**clean, "reference_drop": drops[1], "sketch_drop": 0.1},
            "split": {**clean, "reference_drop": drops[2], "sketch_drop": 0.0},
        }
        if self.phase != "whole":
            return [Phase(self.phase, 1.0, every[self.phase])]
        shares = dict(zip(every, self.phase_shares, strict=True))
        if self.last != "split":
            del shares["split"]
        total = sum(shares.values())
        left = [name for name, share in shares.items() if share > 0 and not (refined and name in ("noisy", "refine"))]
        return [Phase(name, shares[name] / total, every[name]) for name in left]


def columns(settings: V2Settings) -> tuple[str, ...]:
    """What samples need of a corpus besides colours and sketches."""
    acting = settings.role.acting
    return ("mask",) if acting & {"split", "background"} else ()


def check_parent(settings: V2Settings, metadata: Any, continues: bool) -> str | None:
    """As v1's; of a v2 checkpoint also whether it has low-rank updates other than the recipe names.

    A trained v1 is continued, also by a stage that could begin with nothing.
    """
    if problem := check_v1_parent(settings, metadata, continues or metadata.stage != "stable-diffusion"):
        return problem
    network = metadata.network
    if not isinstance(network, V2Config):
        return None
    wanted = settings.lora if settings.lora != OWN else V2_SIZES[metadata.size].lora
    if network.lora not in (wanted, "off"):
        return f"has lora={network.lora}, the recipe lora={wanted}; give --set lora={network.lora}"
    if (network.background or network.style) and network.split_encoders != settings.split_encoders:
        found = str(network.split_encoders).lower()
        return f"has split_encoders={found}, the recipe not; give --set split_encoders={found}"
    return None


def same_size(found: V2Config, wanted: V2Config) -> bool:
    """Whether two networks are over v1s of one size, and what both have besides is of one shape."""
    parts: dict[str, Any] = {name: getattr(wanted, name) for name in ("background", "style", "split_encoders")}
    if "off" in (found.lora, wanted.lora):
        parts["lora"] = wanted.lora
    if parts["split_encoders"] and (parts.get("lora", found.lora)) == "off":
        parts["split_encoders"] = False
    return same_v1_size(replace(found, **parts), wanted)
