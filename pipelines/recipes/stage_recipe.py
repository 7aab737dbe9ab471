"""The training recipes: the papers' schedule as published, and what the tiny size changes, on one screen.

ColorizeDiffusion (paper 002) sections 3.3 and 4.1, thesis 5.4: AdamW at a constant 1e-5, global batch 256, five epochs
of noisy training with 10 % of the references dropped, then two epochs of refinement with 50 % of the references and
10 % of the sketches dropped. The ablations (002 section 4.2, Table 1) train for the same seven epochs at once. The
border crop of the sketch is thesis 3.2. The tiny column is ours: it makes the same code learn something within minutes
on two CPU cores. docs/recipes.md has the rows of the papers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from dataprep.samples.buckets import SIDE_MULTIPLE, V1_BUCKETS, BucketSettings
from dataprep.samples.sample_plan import stage_rows
from model.backbone.config import RELEASED
from pipelines.common.overrides import SettingsError, nearest, override

# What a stage that starts fresh may be initialised from: checkpoints that `irodori weights convert` made.
INITIALISATIONS = ("stable-diffusion", RELEASED)
MANY = 2**62
# The values that each setting may take, ends included; a rate or a length of nothing is an epsilon.
RANGES = {
    "batch_size micro_batch checkpoint_images sample_images validate_images": (1, MANY),
    "images warmup_images decay_images weight_decay gradient_clip min_snr_gamma seed": (0, MANY),
    "epochs learning_rate": (1e-12, MANY),
    "reference_drop sketch_drop flip_above offset_noise": (0.0, 1.0),
    "beta1 beta2 ema_decay": (0.0, 1 - 1e-12),
    "rescale_max": (1.0, 8.0),
    "sketch_crop_max": (0.0, 0.49),
}


@dataclass(frozen=True)
class StageRecipe:
    """Everything that decides what a stage computes. Lengths and intervals are counted in images.

    `images` 0 means `epochs` times the training rows. `micro_batch` is what one worker holds at once; the global batch
    is reached by accumulation. `flip_above` 0.9 is the released code's reversal of the reference noise at early
    timesteps (the paper has none); 0 switches it off. `gradient_clip` 0 switches clipping off. `offset_noise` is the
    deviation of a shift of each channel's noise (released configurations: 0.05), `min_snr_gamma` bounds the weight of
    easy timesteps (5 is usual; off in what was released), `ema_decay` keeps a moving average of the weights (released
    option: 0.9999); 0 switches each off: the papers name none of them. `reference_tokens` are V1Config's.

    A stage with a `parent_stage` continues a checkpoint of that stage; the others start fresh, or from a checkpoint of
    one of INITIALISATIONS.

    `sizes` says how large samples are, one size for all samples of a step: "fixed" is `width` x `height` (v1's own size
    is 512); "random" draws both sides of each step from the multiples of `size_multiple` in `size_range` (Separating
    Reference Representations: 768 to 1280 with random aspect ratios); "buckets" takes each step's rows from one aspect
    bucket, at its size, with the tables of the released code. `bucket_sizes` are the buckets, or the name of a table
    (v1, xl, tiny); none: those that the corpus was built with. `bucket_weights`: steps in proportion to the rows of
    each bucket ("fill"), or the released weights, square four times, however many rows there are ("table").
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
    ema_decay: float = 0.0
    # what the network predicts and is told
    prediction_type: Literal["eps", "v"] = "eps"
    reference_tokens: Literal["local", "cls", "proj"] = "local"
    noisy_reference: bool = True
    flip_above: float = 0.0
    reference_drop: float = 0.1
    sketch_drop: float = 0.0
    offset_noise: float = 0.0
    min_snr_gamma: float = 0.0
    # samples
    sizes: Literal["fixed", "buckets", "random"] = "fixed"
    width: int = 512
    height: int = 512
    size_range: tuple[int, int] = (768, 1280)
    size_multiple: int = 64
    bucket_sizes: tuple[str, ...] = ()
    bucket_weights: Literal["fill", "table"] = "fill"
    rescale_max: float = 1.3
    sketch_crop_max: float = 0.15
    styles: tuple[str, ...] = ("drawn", "xdog")
    # what is watched, what is kept
    checkpoint_images: int = 256_000
    sample_images: int = 256_000
    validate_images: int = 256_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.prediction_type not in ("eps", "v"):
            raise ValueError(f"prediction_type is eps or v, not {self.prediction_type}")
        if self.reference_tokens not in ("local", "cls", "proj"):
            raise ValueError(f"reference_tokens is local, cls or proj, not {self.reference_tokens}")
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"precision is fp32 or bf16, not {self.precision}")
        if min(self.width, self.height) < SIDE_MULTIPLE or self.width % SIDE_MULTIPLE or self.height % SIDE_MULTIPLE:
            raise ValueError(f"width and height must be multiples of {SIDE_MULTIPLE}, the codec's reduction")
        if not self.styles:
            raise ValueError("styles must name at least one sketch style")
        if self.flip_above and not self.noisy_reference:
            raise ValueError("flip_above needs noisy_reference=true")
        self._check_sizes()
        for names, (low, high) in RANGES.items():
            for name in names.split():
                if not low <= getattr(self, name) <= high:
                    raise ValueError(f"{name} must be {f'from {low} to {high}' if high < MANY else f'at least {low}'}")

    def _check_sizes(self) -> None:
        if self.sizes not in ("fixed", "buckets", "random"):
            raise ValueError(f"sizes is fixed, buckets or random, not {self.sizes}")
        if self.bucket_weights not in ("fill", "table"):
            raise ValueError(f"bucket_weights is fill or table, not {self.bucket_weights}")
        if self.size_multiple < SIDE_MULTIPLE or self.size_multiple % SIDE_MULTIPLE:
            raise ValueError(f"size_multiple must be a multiple of {SIDE_MULTIPLE}, the codec's reduction")
        low, high = self.size_range
        if low % self.size_multiple or not self.size_multiple <= low <= high:
            raise ValueError(f"size_range must rise, from a multiple of size_multiple={self.size_multiple}")
        try:
            BucketSettings(self.bucket_sizes or V1_BUCKETS)
        except ValueError as error:
            raise ValueError(f"bucket_sizes: {error}") from error

    def flat(self) -> dict[str, Any]:
        """The recipe as a JSON-able mapping."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


# What every tiny stage changes: a small learning problem wants many small steps (a batch of 8 learnt twice as much from
# an image as one of 16), a larger rate and no bf16. It predicts v, whose answer at high noise is the picture itself:
# colours come right after thousands of images.
TINY: dict[str, Any] = {
    "model_size": "tiny",
    "batch_size": 8,
    "micro_batch": 4,
    "learning_rate": 2e-3,
    "warmup_images": 400,
    "gradient_clip": 1.0,
    "precision": "fp32",
    "prediction_type": "v",
    "width": 128,
    "height": 128,
    "size_range": (96, 160),
    "size_multiple": 8,
    "bucket_sizes": ("tiny",),
    "checkpoint_images": 4_000,
    "sample_images": 2_000,
    "validate_images": 2_000,
}

# The two stages of the proposed model, and the single one of an ablation.
NOISY: dict[str, Any] = {"epochs": 5, "noisy_reference": True, "reference_drop": 0.1}
REFINE: dict[str, Any] = {"epochs": 2, "noisy_reference": False, "reference_drop": 0.5, "sketch_drop": 0.1}
ABLATION: dict[str, Any] = {"epochs": 7, "noisy_reference": False}
UNCROPPED: dict[str, Any] = {"sketch_crop_max": 0.0}
# How long they are at the tiny size; the rate falls at the end of what is sampled from.
FIRST: dict[str, Any] = {"images": 12_000}
LAST: dict[str, Any] = {"images": 12_000, "decay_images": 4_000}
WHOLE: dict[str, Any] = {"images": 24_000, "decay_images": 4_000}


def _sizes(stage: str, settings: dict[str, Any], tiny_length: dict[str, Any]) -> dict[str, StageRecipe]:
    tiny = {key: value for key, value in settings.items() if key != "epochs"} | TINY | tiny_length
    return {"base": StageRecipe(stage, **settings), "tiny": StageRecipe(stage, **tiny)}


STAGES: dict[str, dict[str, StageRecipe]] = {
    stage: _sizes(stage, settings, tiny_length)
    for stage, settings, tiny_length in (
        ("v1.noisy", NOISY, FIRST),
        ("v1.refine", REFINE | {"parent_stage": "v1.noisy"}, LAST),
        ("v1.drop-0.5", ABLATION | {"reference_drop": 0.5}, WHOLE),
        ("v1.proj-0.1", ABLATION | {"reference_drop": 0.1, "reference_tokens": "proj"}, WHOLE),
        ("v1.cls-0.1", ABLATION | {"reference_drop": 0.1, "reference_tokens": "cls"}, WHOLE),
        ("v1.noisy-uncropped", NOISY | UNCROPPED, FIRST),
        ("v1.refine-uncropped", REFINE | UNCROPPED | {"parent_stage": "v1.noisy-uncropped"}, LAST),
    )
}


def stage_recipe(stage: str, model_size: str = "tiny") -> StageRecipe:
    """The recipe of `stage` at `model_size`. Raises SettingsError that names the nearest valid ones."""
    if stage not in STAGES:
        raise SettingsError(f"there is no stage {stage!r}: {nearest(stage, STAGES)}")
    if model_size not in STAGES[stage]:
        raise SettingsError(f"there is no model size {model_size!r}: {nearest(model_size, STAGES[stage])}")
    return STAGES[stage][model_size]


def configured(recipe: StageRecipe, values: Mapping[str, Any]) -> StageRecipe:
    """The recipe with settings changed; who sets `epochs` alone means them, also where the recipe counts `images`.

    Raises SettingsError, also for what only STAGE and --model-size decide.
    """
    for name in ("stage", "family", "model_size", "parent_stage"):
        if name in values:
            raise SettingsError(f"{name} is no setting: it follows from the stage and the model size of the call")
    return override(recipe, ({"images": 0} if "epochs" in values else {}) | dict(values))


def check_parent_given(recipe: StageRecipe, parent: str | None) -> None:
    """Raises SettingsError where a stage that continues another has no parent."""
    if recipe.parent_stage is not None and parent is None:
        raise SettingsError(f"{recipe.stage} continues {recipe.parent_stage}: give its output with --from")


def with_length(recipe: StageRecipe, rows: Sequence[int]) -> StageRecipe:
    """The recipe with `images` filled in: whole batches that cover `epochs` of `rows`, or the `images` asked for.

    `rows` are those of each bucket that makes batches of its own; of all rows together where buckets do not matter.
    """
    wanted = recipe.images or stage_rows(rows, recipe.epochs, recipe.batch_size)
    return replace(recipe, images=-(-wanted // recipe.batch_size) * recipe.batch_size)
