"""What v1's method adds to a stage's recipe: what the network predicts, and how it is shown its conditions."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from model.families.v1.sizes import V1Config
from model.setting import check_choice, check_ranges, setting

METHOD = "Method"  # the panel of its settings


@dataclass(frozen=True, kw_only=True)
class V1Settings:
    """ColorizeDiffusion sections 3.3 and 4.2, thesis 5.4.

    noise_schedule: `model.diffusion.noise.NoiseSchedule`. reference_tokens: V1Config's. noisy_reference: noise on the
    reference's tokens (Eq. 1). flip_above 0.9 is the released code's reversal of that noise at early timesteps (the
    paper has none); 0 switches it off. reference_drop, sketch_drop: shares of the samples that are shown none.
    offset_noise: deviation of a shift of each channel's noise (released configurations: 0.05). min_snr_gamma bounds the
    weight of easy timesteps (5 is usual; off in what was released); 0 switches each off: the papers name none of them.
    """

    prediction_type: Literal["eps", "v"] = "eps"
    noise_schedule: Literal["stable-diffusion", "zero-terminal"] = "stable-diffusion"
    reference_tokens: Literal["local", "cls", "proj"] = "local"
    noisy_reference: bool = True
    flip_above: float = setting(
        0.0, help="Share of the timesteps from which the reference's noise is reversed.", panel=METHOD, least=0, most=1
    )
    reference_drop: float = setting(
        0.1, help="Share of the samples that are shown no reference.", panel=METHOD, least=0, most=1
    )
    sketch_drop: float = setting(
        0.0, help="Share of the samples that are shown no sketch.", panel=METHOD, least=0, most=1
    )
    offset_noise: float = setting(
        0.0, help="Deviation of a shift of each channel's noise.", panel=METHOD, least=0, most=1
    )
    min_snr_gamma: float = setting(0.0, help="Bound of the weight of easy timesteps; 0: none.", panel=METHOD, least=0)

    def __post_init__(self) -> None:
        check_choice("prediction_type", self.prediction_type, ("eps", "v"))
        check_choice("noise_schedule", self.noise_schedule, ("stable-diffusion", "zero-terminal"))
        if self.noise_schedule == "zero-terminal" and self.prediction_type != "v":
            raise ValueError(
                "noise_schedule=zero-terminal needs prediction_type=v: pure noise says nothing of the picture"
            )
        check_choice("reference_tokens", self.reference_tokens, ("local", "cls", "proj"))
        if self.flip_above and not self.noisy_reference:
            raise ValueError("flip_above needs noisy_reference=true")
        check_ranges(self)

    def network(self, size: V1Config) -> V1Config:
        """The network of that size that a stage of these settings trains."""
        return replace(size, reference_tokens=self.reference_tokens)


@dataclass(frozen=True, kw_only=True)
class DistillSettings(V1Settings):
    """`v1.distill` (`distillation`): how many steps the student has, how many the teacher goes in their place."""

    prediction_type: Literal["eps", "v"] = "v"
    student_steps: int = setting(4, help="Steps in which the student colours.", panel=METHOD, least=1, most=100)
    teacher_steps: int = setting(
        8, help="Guided steps of the teacher; a multiple of student_steps.", panel=METHOD, least=1, most=500
    )
    teacher_guidance: float = setting(2.0, help="The teacher's guidance scale.", panel=METHOD, least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teacher_steps % self.student_steps:
            raise ValueError(
                f"teacher_steps={self.teacher_steps} is not a multiple of student_steps={self.student_steps}"
            )
        if self.prediction_type != "v":
            raise ValueError("a student predicts v: at much noise the noise says too little of the picture")


def check_parent(settings: V1Settings, metadata: Any, continues: bool) -> str | None:
    """Why a v1 checkpoint cannot be the parent: it predicts, or reads, something else. None where it can."""
    if metadata.prediction_type != settings.prediction_type:
        return (
            f"predicts {metadata.prediction_type}, the recipe {settings.prediction_type}; "
            f"give --set prediction_type={metadata.prediction_type}"
        )
    if continues and metadata.noise_schedule != settings.noise_schedule:
        return (
            f"was trained under the noise schedule {metadata.noise_schedule}, the recipe has "
            f"{settings.noise_schedule}; give --set noise_schedule={metadata.noise_schedule}"
        )
    tokens = metadata.network.reference_tokens
    if continues and tokens != settings.reference_tokens:
        return (
            f"reads {tokens} reference tokens, the recipe {settings.reference_tokens}; "
            f"give --set reference_tokens={tokens}"
        )
    return None


def same_size(found: V1Config, wanted: V1Config) -> bool:
    """Whether two networks differ in how they read a reference at most."""
    return replace(found, reference_tokens=wanted.reference_tokens) == wanted
