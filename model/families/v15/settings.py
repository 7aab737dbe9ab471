"""What v1.5's method adds to a stage's recipe: which adapters, which recovery, and what counts as a character."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from model.families.v1.settings import METHOD, V1Settings
from model.families.v1.settings import check_parent as check_v1_parent
from model.families.v1.settings import same_size as same_v1_size
from model.families.v1.sizes import V1Config
from model.families.v15.sizes import Recovery, ThresholdTokens, V15Config
from model.setting import check_choice, setting

OWN = "own"
# Tags that say that a picture shows a character. Ours: no source names how its pictures were told apart. What is
# assembled here (dataprep.pictures.assembled) are people and other figures.
CHARACTER_TAGS = (
    "1girl", "1boy", "1other", "2girls", "2boys", "3girls", "3boys", "4girls", "4boys", "5girls", "5boys",
    "multiple_girls", "multiple_boys", "multiple_others", "solo", "girl", "boy", "character", "assembled",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PartedSettings(V1Settings):
    """What every stage needs that parts figure from ground by masks.

    least_threshold, most_threshold: between which both masks' thresholds are drawn for each sample (released code: 0.05
    and 0.95). Only a character is the foreground of a reference: a row shows one where it has one of character_tags,
    and of a row without tags where its mask covers at least character_share of it (ours).
    """

    noisy_reference: bool = False
    least_threshold: float = setting(0.05, help="Least threshold of a mask.", panel=METHOD, least=0, most=1)
    most_threshold: float = setting(0.95, help="Largest threshold of a mask.", panel=METHOD, least=0, most=1)
    character_tags: tuple[str, ...] = CHARACTER_TAGS
    character_share: float = setting(
        0.02, help="Share of a picture without tags that a character covers at least.", panel=METHOD, least=0, most=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least_threshold > self.most_threshold:
            raise ValueError(
                f"least_threshold={self.least_threshold:g} is above most_threshold={self.most_threshold:g}"
            )
        if self.reference_tokens != "local":
            raise ValueError("figure and ground are parted in the local tokens of a reference: reference_tokens=local")


@dataclass(frozen=True, kw_only=True)
class V15Settings(PartedSettings):
    """Thesis 5.5, "Separating Reference Representations" III.C, released code.

    lora, recovery and threshold_tokens are V15Config's; "own": as the size has it.
    """

    lora: Literal["own", "off", "thesis", "paper-000", "released-v15"] = "own"
    recovery: Literal["own", "off", "thesis", "released"] = "own"
    threshold_tokens: ThresholdTokens = "background"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("lora", self.lora, (OWN, "off", "thesis", "paper-000", "released-v15"))
        check_choice("recovery", self.recovery, (OWN, *get_args(Recovery)))
        check_choice("threshold_tokens", self.threshold_tokens, get_args(ThresholdTokens))

    def network(self, size: V1Config) -> V15Config:
        """The network of that size that a stage of these settings trains."""
        assert isinstance(size, V15Config)
        return network_of(self, size)


def network_of(settings: V15Settings, size: V15Config) -> V15Config:
    """A size with the adapters and the recovery of the settings."""
    changes: dict[str, Any] = {"threshold_tokens": settings.threshold_tokens}
    if settings.lora != OWN:
        changes["lora"] = settings.lora
    if settings.recovery != OWN:
        changes["recovery"] = settings.recovery
    return replace(size, **changes)


def check_parent(settings: V15Settings, metadata: Any, continues: bool) -> str | None:
    """As v1's; of a v1.5 checkpoint also whether it has adapters or a recovery other than the recipe names."""
    if problem := check_v1_parent(settings, metadata, continues):
        return problem
    if isinstance(network := metadata.network, V15Config):
        parts = (("lora", settings.lora, network.lora), ("recovery", settings.recovery, network.recovery))
        for name, wanted, found in parts:
            if wanted != OWN and found not in (wanted, "off"):
                return f"has {name}={found}, the recipe {name}={wanted}; give --set {name}={found}"
    return None


def same_size(found: V15Config, wanted: V15Config) -> bool:
    """Whether two networks are over v1s of one size, and what both have besides is of one shape."""
    parts = {name: getattr(wanted, name) for name in ("lora", "recovery") if getattr(found, name) == "off"}
    return same_v1_size(replace(found, threshold_tokens=wanted.threshold_tokens, **parts), wanted)
