"""How to sample: every control of `irodori colorize` and of the pipeline, as data; nothing heavy is imported here.

The names, ranges and defaults are those of the released interface (ColorizeDiffusion v1), so what could be set there
can be set here. Which scheduler a sampler is, and what it is told, is the table `SAMPLERS`; `schedulers.py` builds it.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TIMESTEPS = 1000
DUAL_RULES = ("mean", "sum")  # how two guidances meet; the formulas are in guidance.py

# The cross-attention layers in the order in which they run, under the names of the released interface.
LAYERS = (
    *(f"down{level}.attn{index}" for level in range(3) for index in range(2)),
    "middle",
    *(f"up{level}.attn{index}" for level in (2, 1, 0) for index in range(3)),
)
# What the released interface's sliders for groups of layers mean. Layers are shared: what is said later counts.
LAYER_GROUPS: Mapping[str, tuple[int, ...]] = types.MappingProxyType(
    {"all": tuple(range(16)), "encoder": (0, 1, 2, 3, 4, 5), "color": (2, 3, 10, 11, 12), "semantics": (4, 5, 7, 8, 9)}
)


@dataclass(frozen=True)
class Sampler:
    """A diffusers scheduler by the name of its class, with its options; `stochastic`: adds noise as it goes."""

    scheduler: str
    options: Mapping[str, Any] = field(default_factory=dict)
    stochastic: bool = False


_SDE = {"algorithm_type": "sde-dpmsolver++"}
SAMPLERS: Mapping[str, Sampler] = types.MappingProxyType(
    {
        "dpmpp_2m_karras": Sampler("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
        "dpmpp_2m": Sampler("DPMSolverMultistepScheduler"),
        "dpmpp_2m_sde_karras": Sampler("DPMSolverMultistepScheduler", _SDE | {"use_karras_sigmas": True}, True),
        "ddim": Sampler("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
        "pndm": Sampler("PNDMScheduler", {"skip_prk_steps": True}),
        "lms": Sampler("LMSDiscreteScheduler"),
        "euler": Sampler("EulerDiscreteScheduler"),
        "euler_a": Sampler("EulerAncestralDiscreteScheduler", {}, True),
        "heun": Sampler("HeunDiscreteScheduler"),
        "unipc": Sampler("UniPCMultistepScheduler"),
    }
)
Spacing = Literal["leading", "trailing", "linspace"]
SigmaSchedule = Literal["karras", "exponential", "beta", "uniform"]


@dataclass(frozen=True)
class InjectionSettings:
    """Attention injection: self-attention also reads a pass over the noised reference ("reference-only").

    fidelity in [0, 1]: how far the branch without a reference is kept out of it (released: 0.5). start in [0, 1]: share
    of the denoising before it begins. sketch_strength in [0, 2]: hints of the reference in its own pass (released: 0).
    """

    fidelity: float = 0.5
    start: float = 0.0
    sketch_strength: float = 0.0

    def __post_init__(self) -> None:
        check_range("injection fidelity", self.fidelity, 0, 1)
        check_range("injection start", self.start, 0, 1)
        check_range("injection sketch_strength", self.sketch_strength, 0, 2)


@dataclass(frozen=True)
class SamplingSettings:
    """How to sample; a guidance scale of 1 switches that guidance off and saves its branch.

    sampler, spacing, sigma_schedule: a key of SAMPLERS; how its timesteps are spaced (the released code's "leading"),
    and its noise levels where that is not the sampler's own. eta: DDIM's added noise.
    guidance_scale (of the reference) and 20 steps are the released interface's defaults; dual_rule says how both
    guidances meet. Outside guidance_window, and inside no_guidance_window, the reference is left out (0 = pure noise,
    1 = clean). attention_scales: one factor for each of LAYERS, or none. reference_padding: white margin, as a multiple
    of the reference's width, in [1, 2]. injection: attention injection, or None.
    """

    sampler: str = "dpmpp_2m_karras"
    steps: int = 20
    guidance_scale: float = 4.0
    sketch_guidance_scale: float = 1.0
    dual_rule: str = "mean"
    guidance_window: tuple[float, float] = (0.0, 1.0)
    no_guidance_window: tuple[float, float] | None = None
    sketch_strength: float = 1.0
    reference_strength: float = 1.0
    attention_scales: tuple[float, ...] = ()
    reference_padding: float = 1.0
    injection: InjectionSettings | None = None
    spacing: Spacing = "leading"
    sigma_schedule: SigmaSchedule | None = None
    eta: float = 0.0

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ValueError(f"there is no sampler {self.sampler!r}; known: {', '.join(SAMPLERS)}")
        if self.dual_rule not in DUAL_RULES:
            raise ValueError(f"there is no dual_rule {self.dual_rule!r}; known: {', '.join(DUAL_RULES)}")
        if not 1 <= self.steps <= TIMESTEPS:
            raise ValueError(f"steps={self.steps} is not within 1..{TIMESTEPS}")
        if self.attention_scales and len(self.attention_scales) != len(LAYERS):
            raise ValueError(f"attention_scales needs {len(LAYERS)} factors, one for each layer, or none")
        check_range("reference_padding", self.reference_padding, 1, 2)
        check_range("eta", self.eta, 0, 1)


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises ValueError unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"{name}={value:g} is not within {low:g}..{high:g}")


def layer_scales(assignments: Mapping[str, float]) -> tuple[float, ...]:
    """The factor of each of LAYERS from assignments to layers and groups, in order; ValueError for a wrong name."""
    scales = [1.0] * len(LAYERS)
    for name, scale in assignments.items():
        if name not in LAYER_GROUPS and name not in LAYERS:
            raise ValueError(f"there is no attention layer {name!r}; known: {', '.join((*LAYER_GROUPS, *LAYERS))}")
        for index in LAYER_GROUPS.get(name) or (LAYERS.index(name),):
            scales[index] = scale
    return tuple(scales)
