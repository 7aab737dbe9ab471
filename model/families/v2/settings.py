"""What v2's method adds to a stage's recipe: which parts act and are trained, and how figure and ground are shown."""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

from model.backbone.split_attention import Lora
from model.families.family import Phase
from model.families.v1.settings import METHOD
from model.families.v1.settings import check_parent as check_v1_parent
from model.families.v1.settings import same_size as same_v1_size
from model.families.v1.sizes import V1Config
from model.families.v2.sizes import V2Config
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
        check_choice("lora", self.lora, (OWN, "off", "thesis", "paper-000", "released-v15", "released-v2"))
        if self.split_encoders and self.lora == "off":
            raise ValueError("split_encoders needs low-rank updates: lora is off")

    @property
    def role(self) -> Role:
        """What acts and what is trained."""
        return ROLES[self.phase]

    def network(self, size: V1Config) -> V2Config:
        """The network of that size that a stage of these settings trains."""
        assert isinstance(size, V2Config)
        acting = self.role.acting
        lora: Lora = size.lora if self.lora == "own" else self.lora
        encoders = bool(acting & {"background", "style"})
        return replace(
            size,
            lora=lora if "split" in acting else "off",
            background="background" in acting,
            style="style" in acting,
            split_encoders=self.split_encoders and encoders,
        )


@dataclass(frozen=True, kw_only=True)
class BackboneSettings(V2Settings):
    """`v2.backbone`: one stage of three phases, each of which begins where the one before it ended.

    noisy and refine are v1's two stages, all of whose network is trained; split trains the low-rank updates of a split
    attention over it. preset "000": 80 % of the references are dropped in the first and 50 % in the second, and the
    split attention follows (III.E); "thesis": 10 % and 50 %, and the split attention is left to `v2.background`
    (5.6.1). phase_shares: of the stage's images, noisy : refine : split; the first two are v1's epochs, the last is
    ours. A parent that has been refined skips the first two. phase: "whole", or one of them alone.
    """

    phase: PhaseName = "whole"
    preset: Preset = "000"
    phase_shares: tuple[float, ...] = (5.0, 2.0, 1.0)

    PHASES = ("whole", "noisy", "refine", "split")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("preset", self.preset, get_args(Preset))
        if len(self.phase_shares) != 3 or min(self.phase_shares) < 0 or not sum(self.phase_shares):
            raise ValueError("phase_shares are three numbers, none below 0: noisy, refine and split")

    @property
    def role(self) -> Role:
        """Of the last phase, where it is all of them."""
        return ROLES[self.last if self.phase == "whole" else self.phase]

    @property
    def last(self) -> PhaseName:
        """The phase that a whole stage ends with."""
        return "split" if self.preset == "000" else "refine"

    def phases(self, refined: bool) -> list[Phase]:
        """Of a whole stage; refined: the parent has been, so that only what follows is left. Empty where nothing is."""
        drops = {"000": (0.8, 0.5), "thesis": (0.1, 0.5)}[self.preset]
        every = {
            "noisy": {"noisy_reference": True, "reference_drop": drops[0], "sketch_drop": 0.0},
            "refine": {"noisy_reference": False, "reference_drop": drops[1], "sketch_drop": 0.1},
            "split": {"noisy_reference": False, "reference_drop": 0.5, "sketch_drop": 0.0},
        }
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
    if isinstance(network, V2Config) and settings.lora != OWN and network.lora not in (settings.lora, "off"):
        return f"has lora={network.lora}, the recipe lora={settings.lora}; give --set lora={network.lora}"
    return None


def same_size(found: V2Config, wanted: V2Config) -> bool:
    """Whether two networks are over v1s of one size, and what both have besides is of one shape."""
    parts: dict[str, Any] = {name: getattr(wanted, name) for name in ("background", "style", "split_encoders")}
    if "off" in (found.lora, wanted.lora):
        parts["lora"] = wanted.lora
    if parts["split_encoders"] and (parts.get("lora", found.lora)) == "off":
        parts["split_encoders"] = False
    return same_v1_size(replace(found, **parts), wanted)
