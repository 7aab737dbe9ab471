"""What the recipe of every stage has, whatever the family: how long, at what sizes, what is watched.

The optimizer's settings are `model.optimizer`'s, a method's those of its family. Lengths and intervals count images.
"""

from dataclasses import dataclass
from typing import Literal

from dataprep.samples.buckets import SIDE_MULTIPLE, V1_BUCKETS, BucketSettings
from model.optimizer import OPTIMIZER, OptimizerSettings
from model.setting import EPSILON, check_choice, check_ranges, setting

LENGTH, SAMPLES, WATCH = "Length", "Samples", "Watching"  # the panels of their settings


@dataclass(frozen=True, kw_only=True)
class LengthSettings:
    """How long a stage is, and how much of it is computed at once.

    `images` 0 means `epochs` times the training rows. `micro_batch` is what one worker holds at once; the global batch
    is reached by accumulation.
    """

    epochs: float = setting(5.0, help="Times that the training rows are seen.", panel=LENGTH, least=EPSILON)
    images: int = setting(0, help="Training images; 0: by epochs.", panel=LENGTH, least=0)
    batch_size: int = setting(256, help="Images of a step, over all workers.", panel=LENGTH, least=1)
    micro_batch: int = setting(16, help="Images that one worker holds at once.", panel=LENGTH, least=1)

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class TrainedSettings(OptimizerSettings):
    """How the weights of a stage's networks are stepped, and in which precision they are held meanwhile.

    The rate rises over `warmup_images` and falls to a tenth over the last `decay_images`. `ema_decay` keeps a moving
    average of the weights (released option: 0.9999); 0 switches it off.
    """

    warmup_images: int = setting(0, help="Images over which the rate rises.", panel=OPTIMIZER, least=0)
    decay_images: int = setting(0, help="Last images, over which it falls to a tenth.", panel=OPTIMIZER, least=0)
    precision: Literal["fp32", "bf16"] = "bf16"
    ema_decay: float = setting(
        0.0, help="Of a moving average of the weights; 0: none.", panel=OPTIMIZER, least=0, most=1 - EPSILON
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("precision", self.precision, ("fp32", "bf16"))


@dataclass(frozen=True, kw_only=True)
class SizeSettings:
    """How rows become samples.

    `sizes` says how large samples are, one size for all samples of a step: "fixed" is `width` x `height` (v1's own size
    is 512); "random" draws both sides of each step from the multiples of `size_multiple` in `size_range` (Separating
    Reference Representations: 768 to 1280 with random aspect ratios); "buckets" takes each step's rows from one aspect
    bucket, at its size, with the tables of the released code. `bucket_sizes` are the buckets, or the name of a table
    (v1, xl, tiny); none: those that the corpus was built with. `bucket_weights`: steps in proportion to the rows of
    each bucket ("fill"), or the released weights, square four times, however many rows there are ("table").
    `styles` are the sketches that a sample may show, drawn evenly among those that its row has; with `simplified`
    "instead" a row that has a simplified one shows that (`dataprep.samples.sample_settings`). `recolored` and
    `palette_references` give assembled drawings other colours, and other drawings as references (the same).
    """

    sizes: Literal["fixed", "buckets", "random"] = "fixed"
    width: int = 512
    height: int = 512
    size_range: tuple[int, int] = (768, 1280)
    size_multiple: int = 64
    bucket_sizes: tuple[str, ...] = ()
    bucket_weights: Literal["fill", "table"] = "fill"
    rescale_max: float = setting(1.3, help="Largest rescale before a crop.", panel=SAMPLES, least=1, most=8)
    sketch_crop_max: float = setting(
        0.15, help="Largest share of a sketch's side that is blanked.", panel=SAMPLES, least=0, most=0.49
    )
    styles: tuple[str, ...] = ("drawn", "xdog")
    simplified: Literal["among", "instead"] = "among"
    recolored: float = setting(
        0.0, help="Share of assembled drawings in colours drawn anew.", panel=SAMPLES, least=0, most=1
    )
    palette_references: float = setting(
        0.0, help="Share of assembled drawings shown another in their colours.", panel=SAMPLES, least=0, most=1
    )

    def __post_init__(self) -> None:
        if min(self.width, self.height) < SIDE_MULTIPLE or self.width % SIDE_MULTIPLE or self.height % SIDE_MULTIPLE:
            raise ValueError(f"width and height must be multiples of {SIDE_MULTIPLE}, the codec's reduction")
        if not self.styles:
            raise ValueError("styles must name at least one sketch style")
        check_choice("sizes", self.sizes, ("fixed", "buckets", "random"))
        check_choice("simplified", self.simplified, ("among", "instead"))
        check_choice("bucket_weights", self.bucket_weights, ("fill", "table"))
        if self.size_multiple < SIDE_MULTIPLE or self.size_multiple % SIDE_MULTIPLE:
            raise ValueError(f"size_multiple must be a multiple of {SIDE_MULTIPLE}, the codec's reduction")
        low, high = self.size_range
        if low % self.size_multiple or not self.size_multiple <= low <= high:
            raise ValueError(f"size_range must rise, from a multiple of size_multiple={self.size_multiple}")
        try:
            BucketSettings(self.bucket_sizes or V1_BUCKETS)
        except ValueError as error:
            raise ValueError(f"bucket_sizes: {error}") from error
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """How often, in images, a stage is saved, colours its fixed pairs, and is measured on held-out rows."""

    checkpoint_images: int = setting(256_000, help="Between states that a run goes on from.", panel=WATCH, least=1)
    sample_images: int = setting(256_000, help="Between colourings of the fixed pairs.", panel=WATCH, least=1)
    validate_images: int = setting(256_000, help="Between measurements of held-out rows.", panel=WATCH, least=1)

    def __post_init__(self) -> None:
        check_ranges(self)
