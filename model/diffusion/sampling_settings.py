"""How to sample: every control of `irodori colorize` and of the pipeline, as data; nothing heavy is imported here.

The names, ranges and defaults are those of the released interface (ColorizeDiffusion v1), so what could be set there
can be set here. Which scheduler a sampler is, and what it is told, is the table `SAMPLERS`; `schedulers.py` builds it.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
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


Spacing = Literal["leading", "trailing", "linspace"]
SigmaSchedule = Literal["karras", "exponential", "beta", "uniform"]
EVEN_SPACINGS: tuple[Spacing, ...] = ("leading", "trailing")
SPACINGS: tuple[Spacing, ...] = (*EVEN_SPACINGS, "linspace")
SIGMA_SCHEDULES: tuple[SigmaSchedule, ...] = ("karras", "exponential", "beta")


@dataclass(frozen=True)
class Sampler:
    """A diffusers scheduler by the name of its class, with its options, and what it can be told.

    spacings: of its timesteps, the first is its own; none where they are fixed. sigma_schedules: noise levels other
    than the timesteps' ("uniform"); sigma_schedule: its own. spaced_levels: a spacing moves both ends of those others
    too; else they run over the whole schedule and a spacing would change nothing. stochastic: adds noise as it goes.
    eta: how much can be told. least_steps: with fewer it does not reach the picture.
    """

    scheduler: str
    options: Mapping[str, Any] = field(default_factory=dict)
    spacings: tuple[Spacing, ...] = SPACINGS
    sigma_schedules: tuple[SigmaSchedule, ...] = SIGMA_SCHEDULES
    sigma_schedule: SigmaSchedule = "uniform"
    spaced_levels: bool = False
    stochastic: bool = False
    eta: bool = False
    least_steps: int = 1


def _multistep(order: int = 2, sde: bool = False, schedule: SigmaSchedule = "uniform", **options: Any) -> Sampler:
    solver = {"solver_order": order, "algorithm_type": "sde-dpmsolver++" if sde else "dpmsolver++"}
    return Sampler("DPMSolverMultistepScheduler", solver | options, sigma_schedule=schedule, stochastic=sde)


def _singlestep(order: int = 2, sde: bool = False) -> Sampler:
    # What diffusers would choose itself for the last noise level of zero, with a warning at every picture.
    solver = {"solver_order": order, "algorithm_type": "sde-dpmsolver++" if sde else "dpmsolver++"}
    return Sampler("DPMSolverSinglestepScheduler", solver | {"lower_order_final": True}, spacings=(), stochastic=sde)


_PLAIN: dict[str, Any] = {"sigma_schedules": ()}
# diffusers keeps the gap of "leading" and "trailing" in these even under "linspace": the noise levels would be wrong.
_EVEN: dict[str, Any] = _PLAIN | {"spacings": EVEN_SPACINGS}
_DISTILLED = {"clip_sample": False, "original_inference_steps": TIMESTEPS}
SAMPLERS: Mapping[str, Sampler] = types.MappingProxyType(
    {
        "dpmpp_2m_karras": _multistep(schedule="karras"),
        "dpmpp_2m": _multistep(),
        "dpmpp_2m_sde_karras": _multistep(sde=True, schedule="karras"),
        "dpmpp_2m_sde": _multistep(sde=True),
        "dpmpp_2m_sde_heun": _multistep(sde=True, solver_type="heun"),
        "dpmpp_3m": _multistep(3),
        "dpmpp_3m_sde": _multistep(3, sde=True),
        "dpmpp_2s": _singlestep(),
        "dpmpp_2s_sde": _singlestep(sde=True),
        "dpmpp_3s": _singlestep(3),
        "dpm2": Sampler("KDPM2DiscreteScheduler", spaced_levels=True),
        "dpm2_a": Sampler("KDPM2AncestralDiscreteScheduler", spaced_levels=True, stochastic=True),
        "ddim": Sampler("DDIMScheduler", {"clip_sample": False}, eta=True, **_EVEN),
        "ddpm": Sampler("DDPMScheduler", {"clip_sample": False}, stochastic=True, **_PLAIN),
        "pndm": Sampler("PNDMScheduler", {"skip_prk_steps": True}, least_steps=2, **_EVEN),
        "pndm_rk": Sampler("PNDMScheduler", {}, least_steps=4, **_EVEN),
        "lms": Sampler("LMSDiscreteScheduler", spaced_levels=True),
        "euler": Sampler("EulerDiscreteScheduler", spaced_levels=True),
        "euler_a": Sampler("EulerAncestralDiscreteScheduler", stochastic=True, **_PLAIN),
        "heun": Sampler("HeunDiscreteScheduler", spaced_levels=True),
        "unipc": Sampler("UniPCMultistepScheduler"),
        "deis": Sampler("DEISMultistepScheduler", least_steps=2),
        "sa_solver": Sampler(
            "SASolverScheduler", sigma_schedules=("karras", "exponential"), stochastic=True, least_steps=2
        ),
        "lcm": Sampler("LCMScheduler", _DISTILLED, spacings=(), sigma_schedules=(), stochastic=True),
        "tcd": Sampler("TCDScheduler", _DISTILLED, spacings=(), sigma_schedules=(), stochastic=True),
    }
)
# What the released interface calls its samplers, with the noise levels that its schedule "Automatic" gives them.
RELEASED_SAMPLERS: Mapping[str, tuple[str, SigmaSchedule]] = types.MappingProxyType(
    {
        "diffuser_ddim": ("ddim", "uniform"),
        "diffuser_dpm": ("dpmpp_2m", "uniform"),
        "diffuser_pndm": ("pndm_rk", "uniform"),
        "diffuser_lms": ("lms", "uniform"),
        "DPM++ 2M": ("dpmpp_2m", "karras"),
        "DPM++ SDE": ("dpmpp_2s_sde", "karras"),
        "DPM++ 2M SDE": ("dpmpp_2m_sde", "exponential"),
        "DPM++ 2M SDE Heun": ("dpmpp_2m_sde_heun", "exponential"),
        "DPM++ 2S a": ("dpmpp_2s_sde", "karras"),
        "DPM++ 3M SDE": ("dpmpp_3m_sde", "exponential"),
        "Euler a": ("euler_a", "uniform"),
        "Euler": ("euler", "uniform"),
        "LMS": ("lms", "uniform"),
        "Heun": ("heun", "uniform"),
        "DPM2": ("dpm2", "karras"),
        "DPM2 a": ("dpm2_a", "karras"),
        "DPM fast": ("dpmpp_3s", "uniform"),
    }
)
NEAREST = ("DPM++ SDE", "DPM++ 2S a", "DPM fast")  # of RELEASED_SAMPLERS: those that diffusers has no equal of
NOT_FOLLOWED = types.MappingProxyType(
    {"DPM adaptive": "it chooses its own number of steps, as no scheduler of diffusers does; dpmpp_3s is the nearest"}
)
# And its schedules, as spacing and sigma_schedule; None: the sampler's own.
RELEASED_SCHEDULES: Mapping[str, tuple[Spacing | None, SigmaSchedule | None]] = types.MappingProxyType(
    {
        "Automatic": (None, None),
        "Uniform": ("linspace", "uniform"),
        "Karras": (None, "karras"),
        "Exponential": (None, "exponential"),
        "Polyexponential": (None, "exponential"),  # its exponent is 1 there: the same numbers
        "SGM Uniform": ("trailing", "uniform"),
    }
)
MOST_STRENGTH = 3.0  # of hints and of attention layers
MOST_STEPS = 500  # beyond, diffusers' "leading" spacing starts far from pure noise, or fails


@dataclass(frozen=True)
class InjectionSettings:
    """Attention injection: self-attention also reads a pass over the noised reference ("reference-only").

    fidelity in [0, 1]: how far the branch without a reference is kept out of it (released: 0.5). start in [0, 1]: share
    of the denoising before it begins; as in the released code this is its only window, those of the guidance do not
    stop it. sketch_strength in [0, 2]: hints of the reference in its own pass (released: 0). ValueError outside.
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

    sampler: a key of SAMPLERS, or a name of RELEASED_SAMPLERS, which is kept as the key and sigma_schedule that it
    means: who replaces the sampler of such settings says sigma_schedule=None too. spacing, sigma_schedule: how its
    timesteps are spaced, and its noise levels; None: the sampler's own. eta in [0, 1]: DDIM's added noise.
    guidance_scale (of the reference) and 20 steps, a whole number, are the released interface's defaults. Both guidance
    scales are finite and at least 0; the released sliders end at 15 and 5, but a larger one is only more of the same
    extrapolation. dual_rule says how both guidances meet: "mean" gives each half its scale; one that runs alone
    (guidance_scale 1, or no reference) has its full scale under both rules, as in the released code.
    Outside guidance_window, and inside no_guidance_window, the reference's tokens are left out (0 = pure noise, 1 =
    clean); attention injection has its own start and runs on. sketch_strength (released: 0 to 3), reference_strength
    (released: 0 to 1) and attention_scales, one factor for each of LAYERS, or none, are in [0, 3]. reference_padding:
    white margin, as a multiple of the reference's width, in [1, 2]. injection: attention injection, or None.
    Raises ValueError for what is outside, and for what the sampler cannot be told.
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
    spacing: Spacing | None = None
    sigma_schedule: SigmaSchedule | None = None
    eta: float = 0.0

    def __post_init__(self) -> None:
        self._resolve_released_name()
        if self.sampler not in SAMPLERS:
            why = NOT_FOLLOWED.get(self.sampler, f"known: {', '.join(SAMPLERS)}")
            raise ValueError(f"there is no sampler {self.sampler!r}; {why}")
        if self.dual_rule not in DUAL_RULES:
            raise ValueError(f"there is no dual_rule {self.dual_rule!r}; known: {', '.join(DUAL_RULES)}")
        if self.attention_scales and len(self.attention_scales) != len(LAYERS):
            raise ValueError(f"attention_scales needs {len(LAYERS)} factors, one for each layer, or none")
        check_range("guidance_scale", self.guidance_scale, 0)
        check_range("sketch_guidance_scale", self.sketch_guidance_scale, 0)
        check_range("sketch_strength", self.sketch_strength, 0, MOST_STRENGTH)
        check_range("reference_strength", self.reference_strength, 0, MOST_STRENGTH)
        for layer, scale in zip(LAYERS, self.attention_scales, strict=False):
            check_range(f"the attention scale of {layer}", scale, 0, MOST_STRENGTH)
        check_range("reference_padding", self.reference_padding, 1, 2)
        check_range("eta", self.eta, 0, 1)
        _check_window("guidance_window", self.guidance_window)
        _check_window("no_guidance_window", self.no_guidance_window)
        self._check_sampler(SAMPLERS[self.sampler])

    @property
    def adds_noise(self) -> bool:
        """Whether sampling draws random numbers beyond the initial noise, so that each sample needs its generator."""
        return SAMPLERS[self.sampler].stochastic or self.eta > 0 or self.injection is not None

    def _resolve_released_name(self) -> None:
        if self.sampler in RELEASED_SAMPLERS:
            sampler, schedule = RELEASED_SAMPLERS[self.sampler]
            object.__setattr__(self, "sampler", sampler)
            object.__setattr__(self, "sigma_schedule", self.sigma_schedule or schedule)

    def _check_sampler(self, sampler: Sampler) -> None:
        """Whether the sampler can be told all that it is told."""
        if isinstance(self.steps, bool) or not isinstance(self.steps, int):
            raise ValueError(f"steps={self.steps} is not a whole number")
        if not sampler.least_steps <= self.steps <= MOST_STEPS:
            raise ValueError(f"steps={self.steps} is not within {sampler.least_steps}..{MOST_STEPS} of {self.sampler}")
        schedules = (*sampler.sigma_schedules, "uniform")
        for name, value, known in (
            ("spacing", self.spacing, sampler.spacings),
            ("sigma_schedule", self.sigma_schedule, schedules),
        ):
            if value is not None and value not in known:
                raise ValueError(
                    f"{self.sampler} has no {name} {value!r}; it has: {', '.join(known) or 'only its own'}"
                )
        levels = self.sigma_schedule or sampler.sigma_schedule
        if self.spacing is not None and levels != "uniform" and not sampler.spaced_levels:
            raise ValueError(f"{self.sampler} has no spacing under {levels} noise levels; give sigma_schedule=uniform")
        if self.eta and not sampler.eta:
            able = ", ".join(name for name, other in SAMPLERS.items() if other.eta)
            raise ValueError(f"{self.sampler} takes no eta; these do: {able}")


def _check_window(name: str, window: tuple[float, float] | None) -> None:
    if window is not None and not 0 <= window[0] <= window[1] <= 1:
        raise ValueError(f"{name}={window[0]:g},{window[1]:g} is not a window within 0..1, start before end")


def check_range(name: str, value: float, low: float, high: float = inf) -> None:
    """Raises ValueError unless low <= value <= high and value is finite."""
    if not (low <= value <= high and isfinite(value)):
        allowed = f"within {low:g}..{high:g}" if isfinite(high) else f"a finite number of at least {low:g}"
        raise ValueError(f"{name}={value:g} is not {allowed}")


def layer_scales(assignments: Mapping[str, float]) -> tuple[float, ...]:
    """The factor of each of LAYERS from assignments to layers and groups, in order; ValueError for a wrong name."""
    scales = [1.0] * len(LAYERS)
    for name, scale in assignments.items():
        if name not in LAYER_GROUPS and name not in LAYERS:
            raise ValueError(f"there is no attention layer {name!r}; known: {', '.join((*LAYER_GROUPS, *LAYERS))}")
        for index in LAYER_GROUPS.get(name) or (LAYERS.index(name),):
            scales[index] = scale
    return tuple(scales)
