"""How to sample: every control of `irodori colorize` and of the pipeline, as data; nothing heavy is imported here.

The names, ranges and defaults are those of the released interface (ColorizeDiffusion v1), so what could be set there
can be set here. Which scheduler a sampler is, and its options, is the table `SAMPLERS`; `schedulers.py` builds it.

A control is one field: name, type, default, help, panel and range stand together (`model.setting`); the option of
`irodori colorize` and the check of the range come from it.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from model.setting import check_choice, check_range, check_ranges, setting

TIMESTEPS = 1000

# The cross-attention layers in the order in which they run, under the names of the released interface.
LAYERS = (
    *(f"down{level}.attn{index}" for level in range(3) for index in range(2)),
    "middle",
    *(f"up{level}.attn{index}" for level in (2, 1, 0) for index in range(3)),
)
# What the released interface's sliders for groups of layers mean. Layers are shared: the later word counts.
LAYER_GROUPS: Mapping[str, tuple[int, ...]] = types.MappingProxyType(
    {"all": tuple(range(16)), "encoder": (0, 1, 2, 3, 4, 5), "color": (2, 3, 10, 11, 12), "semantics": (4, 5, 7, 8, 9)}
)

# What a network that keeps figure and ground apart uses; which of them it has is its family's to say.
Mode = Literal["vanilla", "style", "split", "foreground", "background", "full", "released-full"]
SEPARATION_CONTROLS = frozenset(
    (
        "mode",
        "sketch_threshold",
        "reference_threshold",
        "foreground_strength",
        "background_strength",
        "merging_scale",
        "background_factor",
    )
)
DualRule = Literal["mean", "sum"]  # how two guidances meet; the formulas are in guidance.py
DUAL_RULES: tuple[DualRule, ...] = ("mean", "sum")
Spacing = Literal["leading", "trailing", "linspace"]
SigmaSchedule = Literal["karras", "exponential", "beta", "uniform"]
EVEN_SPACINGS: tuple[Spacing, ...] = ("leading", "trailing")
SPACINGS: tuple[Spacing, ...] = (*EVEN_SPACINGS, "linspace")
SIGMA_SCHEDULES: tuple[SigmaSchedule, ...] = ("karras", "exponential", "beta")


@dataclass(frozen=True)
class Sampler:
    """A diffusers scheduler by the name of its class, with its options, and the settings that it takes.

    spacings: of its timesteps, the first is its own; none where they are fixed. sigma_schedules: noise levels other
    than the timesteps' ("uniform"); sigma_schedule: its own. spaced_levels: a spacing moves both ends of those others
    too; else they run over the whole schedule and a spacing would change nothing. stochastic: adds noise as it goes.
    eta: how much is a setting of it. least_steps: with fewer it does not reach the picture.
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
# The panels under which an interface shows these settings.
SAMPLING, GUIDANCE, ATTENTION, SEPARATION = "Sampling", "Guidance", "Attention", "Figure and ground"
CHECKPOINT = "the checkpoint's"  # what comes before a default (`model.checkpoint.OWN_SAMPLING`)
MOST_STRENGTH = 3.0  # of hints and of attention layers
MOST_STEPS = 500  # beyond, diffusers' "leading" spacing starts far from pure noise, or fails


@dataclass(frozen=True)
class InjectionSettings:
    """Attention injection: self-attention also reads a pass over the noised reference ("reference-only").

    Defaults are the released interface's. As in the released code `start` is its only window, those of the guidance do
    not stop it. Raises ValueError outside the ranges.
    """

    fidelity: float = setting(
        0.5,
        help="How far the branch without a reference is kept out of the injection",
        panel=ATTENTION,
        least=0,
        most=1,
    )
    start: float = setting(
        0.0, help="Share of the denoising before the injection begins", panel=ATTENTION, least=0, most=1
    )
    sketch_strength: float = setting(
        0.0, help="Factor of the reference's own hints in its pass", panel=ATTENTION, least=0, most=2
    )

    def __post_init__(self) -> None:
        check_ranges(self, "injection ")


@dataclass(frozen=True)
class SamplingSettings:
    """How to sample; a guidance scale of 1 switches that guidance off and saves its branch.

    sampler: a key of SAMPLERS, or a name of RELEASED_SAMPLERS, which is kept as the key and sigma_schedule that it
    means: who replaces the sampler of such settings gives sigma_schedule=None too. guidance_scale (of the reference)
    and 20 steps, a whole number, are the released interface's defaults. Both guidance scales are finite; the released
    sliders end at 15 and 5, but a larger one is only more of the same extrapolation. dual_rule "mean" gives each half
    its scale; a guidance that runs alone (guidance_scale 1, or no reference) has its full scale under both rules, as in
    the released code. Outside guidance_window, and inside no_guidance_window, the reference's tokens are left out;
    attention injection has its own start and runs on. The released sliders end at 3 for sketch_strength and at 1 for
    reference_strength. attention_scales: one factor within 0..MOST_STRENGTH for each of LAYERS, or none.
    reference_padding: white margin, as a multiple of the reference's width. injection: attention injection, or None.
    mode and what follows it are SEPARATION_CONTROLS, of families whose networks keep figure and ground apart.
    Raises ValueError for what is outside, and for what the sampler does not take.
    """

    sampler: str = setting(
        "dpmpp_2m_karras",
        help="The scheduler, also by its released name",
        panel=SAMPLING,
        metavar="NAME",
        before_default=CHECKPOINT,
    )
    steps: int = setting(20, help="Sampling steps", panel=SAMPLING, least=1, most=MOST_STEPS, before_default=CHECKPOINT)
    guidance_scale: float = setting(
        4.0,
        help="How strongly to follow the reference; 1: off",
        panel=GUIDANCE,
        least=0,
        before_default=CHECKPOINT,
    )
    sketch_guidance_scale: float = setting(
        1.0, help="How strongly to follow the sketch; 1: off", panel=GUIDANCE, least=0
    )
    dual_rule: DualRule = setting("mean", help="How both guidances meet", panel=GUIDANCE)
    guidance_window: tuple[float, float] = setting(
        (0.0, 1.0),
        help="The reference counts only from A to B (0: noise, 1: clean)",
        panel=GUIDANCE,
        metavar="A,B",
    )
    no_guidance_window: tuple[float, float] | None = setting(
        None, help="The reference does not count from A to B", panel=GUIDANCE, metavar="A,B"
    )
    sketch_strength: float = setting(
        1.0, help="Factor of the sketch's hints", panel=ATTENTION, least=0, most=MOST_STRENGTH
    )
    reference_strength: float = setting(
        1.0, help="Factor of all attention to the reference", panel=ATTENTION, least=0, most=MOST_STRENGTH
    )
    attention_scales: tuple[float, ...] = ()
    reference_padding: float = setting(
        1.0,
        help="White beside the reference, against its layout: so many times its width",
        panel=GUIDANCE,
        least=1,
        most=2,
    )
    mode: Mode | None = setting(
        None,
        help="Which of its parts a network uses that keeps figure and ground apart",
        panel=SEPARATION,
        metavar="MODE",
        unset="all that the network has",
    )
    sketch_threshold: float = setting(
        0.05, help="Of the sketch's mask: what is greater is figure", panel=SEPARATION, least=0, most=1
    )
    reference_threshold: float = setting(
        0.5, help="Of the reference's mask: what is less is background", panel=SEPARATION, least=0, most=1
    )
    foreground_strength: float = setting(
        1.0, help="Factor of the figure's attention to its reference", panel=SEPARATION, least=0, most=MOST_STRENGTH
    )
    background_strength: float = setting(
        1.0, help="Factor of the ground's attention to its reference", panel=SEPARATION, least=0, most=MOST_STRENGTH
    )
    merging_scale: float = setting(
        0.0, help="How much of the background is blended into the figure", panel=SEPARATION, least=0, most=1
    )
    background_factor: float = setting(
        1.0, help="Factor of what the background's encoder tells", panel=SEPARATION, least=0, most=2
    )
    injection: InjectionSettings | None = setting(
        None,
        help="Self-attention also reads the reference (twice the time)",
        panel=ATTENTION,
        option="--inject",
    )
    spacing: Spacing | None = setting(
        None,
        help="How the timesteps are spaced",
        panel=SAMPLING,
        metavar="NAME",
        unset=f"{CHECKPOINT}, or the sampler's",
    )
    sigma_schedule: SigmaSchedule | None = setting(
        None, help="The noise levels", panel=SAMPLING, metavar="NAME", unset="the sampler's"
    )
    eta: float = setting(0.0, help="Noise that DDIM adds", panel=SAMPLING, least=0, most=1)

    def __post_init__(self) -> None:
        self._resolve_released_name()
        if self.sampler not in SAMPLERS:
            why = NOT_FOLLOWED.get(self.sampler, f"known: {', '.join(SAMPLERS)}")
            raise ValueError(f"there is no sampler {self.sampler!r}; {why}")
        if self.dual_rule not in DUAL_RULES:
            raise ValueError(f"there is no dual_rule {self.dual_rule!r}; known: {', '.join(DUAL_RULES)}")
        if self.mode is not None:
            check_choice("mode", self.mode, get_args(Mode))
        if self.attention_scales and len(self.attention_scales) != len(LAYERS):
            raise ValueError(f"attention_scales needs {len(LAYERS)} factors, one for each layer, or none")
        check_ranges(self)
        for layer, scale in zip(LAYERS, self.attention_scales, strict=False):
            check_range(f"the attention scale of {layer}", scale, 0, MOST_STRENGTH)
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
        """Whether the sampler takes what is set."""
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


def layer_scales(assignments: Mapping[str, float]) -> tuple[float, ...]:
    """The factor of each of LAYERS from assignments to layers and groups, in order; ValueError for a wrong name."""
    scales = [1.0] * len(LAYERS)
    for name, scale in assignments.items():
        if name not in LAYER_GROUPS and name not in LAYERS:
            raise ValueError(f"there is no attention layer {name!r}; known: {', '.join((*LAYER_GROUPS, *LAYERS))}")
        for index in LAYER_GROUPS.get(name) or (LAYERS.index(name),):
            scales[index] = scale
    return tuple(scales)
