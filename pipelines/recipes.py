"""The training recipes: the papers' schedule as published, and what the tiny size changes, on one screen.

ColorizeDiffusion (paper 002) sections 3.3 and 4.1, thesis 5.4: AdamW at a constant 1e-5, global batch 256, five epochs
of noisy training with 10 % of the references dropped, then two epochs of refinement with 50 % of the references and
10 % of the sketches dropped. The border crop of the sketch is thesis 3.2. The tiny column is ours: it makes the same
code learn something within minutes on two CPU cores.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from pipelines.settings import SettingsError, nearest


@dataclass(frozen=True)
class StageRecipe:
    """Everything that decides what a stage computes. Lengths and intervals are counted in images.

    `images` 0 means `epochs` times the training rows. `micro_batch` is what one worker holds at once; the global batch
    is reached by accumulation. `flip_above` 0.9 is the released code's reversal of the reference noise at early
    timesteps (the paper has none); 0 switches it off. `gradient_clip` 0 switches clipping off.
    """

    stage: str
    family: str = "v1"
    model_size: str = "base"
    parent_stage: str | None = None
    # how long, how much at once
    epochs: float = 5.0
    images: int = 0
    batch_size: int = 256
    micro_batch: int = 16
    # optimizer: AdamW
    learning_rate: float = 1e-5
    warmup_images: int = 0
    decay_images: int = 0
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.01
    gradient_clip: float = 0.0
    precision: str = "bf16"
    # conditions
    noisy_reference: bool = True
    flip_above: float = 0.0
    reference_drop: float = 0.1
    sketch_drop: float = 0.0
    # samples
    width: int = 512
    height: int = 512
    rescale_max: float = 1.3
    sketch_crop_max: float = 0.15
    styles: tuple[str, ...] = ("drawn", "xdog")
    # what is watched, what is kept
    checkpoint_images: int = 256_000
    sample_images: int = 256_000
    validate_images: int = 256_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"precision is fp32 or bf16, not {self.precision}")
        if self.width % 8 or self.height % 8:
            raise ValueError("width and height must be multiples of 8, the codec's reduction")
        for name in ("reference_drop", "sketch_drop"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a probability between 0 and 1")
        if self.batch_size < 1 or self.micro_batch < 1:
            raise ValueError("batch_size and micro_batch are at least 1")

    def flat(self) -> dict[str, Any]:
        """The recipe as a JSON-able mapping."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


# What every tiny stage changes: a small learning problem wants a larger rate, a smaller batch and no bf16.
TINY: dict[str, Any] = {
    "model_size": "tiny",
    "batch_size": 16,
    "micro_batch": 8,
    "learning_rate": 1e-3,
    "warmup_images": 800,
    "gradient_clip": 1.0,
    "precision": "fp32",
    "width": 128,
    "height": 128,
    "checkpoint_images": 4_000,
    "sample_images": 2_000,
    "validate_images": 2_000,
}

STAGES: dict[str, dict[str, StageRecipe]] = {
    "v1.noisy": {
        "base": StageRecipe("v1.noisy", epochs=5, reference_drop=0.1),
        "tiny": StageRecipe("v1.noisy", images=16_000, reference_drop=0.1, **TINY),
    },
    "v1.refine": {
        "base": StageRecipe(
            "v1.refine", parent_stage="v1.noisy", epochs=2, noisy_reference=False, reference_drop=0.5, sketch_drop=0.1
        ),
        "tiny": StageRecipe(
            "v1.refine",
            parent_stage="v1.noisy",
            images=8_000,
            decay_images=4_000,
            noisy_reference=False,
            reference_drop=0.5,
            sketch_drop=0.1,
            **TINY,
        ),
    },
}


def stage_recipe(stage: str, model_size: str = "tiny") -> StageRecipe:
    """The recipe of `stage` at `model_size`. Raises SettingsError that names the nearest valid ones."""
    if stage not in STAGES:
        raise SettingsError(f"there is no stage {stage!r}: {nearest(stage, STAGES)}")
    if model_size not in STAGES[stage]:
        raise SettingsError(f"there is no model size {model_size!r}: {nearest(model_size, STAGES[stage])}")
    return STAGES[stage][model_size]


def with_length(recipe: StageRecipe, rows: int) -> StageRecipe:
    """The recipe with `images` filled in: whole batches that cover `epochs` of `rows`, or the `images` asked for."""
    wanted = recipe.images or round(recipe.epochs * rows)
    return replace(recipe, images=-(-wanted // recipe.batch_size) * recipe.batch_size)
