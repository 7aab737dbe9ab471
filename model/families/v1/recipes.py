"""v1's training recipes: the paper's schedule as published, and what the tiny size changes, on one screen.

ColorizeDiffusion (paper 002) sections 3.3 and 4.1, thesis 5.4: AdamW at a constant 1e-5, five epochs of noisy training
with 10 % of the references dropped, then two epochs of refinement with 50 % of the references and 10 % of the sketches
dropped. The ablations (002 section 4.2, Table 1) train for the same seven epochs at once. Thesis 3.2: the border crop
of the sketch, and the sketches, of SketchKeras and Anime2Sketch, 30 % of them simplified, as the corpora danbooru-4.8m,
danbooru-6m and ensemble have them. The global batch of 256 is paper 000's, for 002 has none; 512 x 512, bf16 and weight
decay are ours. The tiny column is ours too: it makes the same code learn something within minutes on two CPU cores, and
takes the sketches of any corpus. What a setting is: pipelines.recipes and `settings`; docs/recipes.md has the rows of
the papers, and what they leave open.
"""

from typing import Any

# What every tiny stage changes: a small learning problem wants many small steps (a batch of 8 learnt twice as much from
# an image as one of 16), a larger rate and no bf16. It predicts v, whose answer at high noise is the picture itself:
# colours come right after thousands of images.
TINY: dict[str, Any] = {
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

# What every small stage changes of the tiny one: larger pictures, more of them, a moving average of the weights, noise
# that leaves no colour to read at its end, and a rate at which it stays calm (at 1.5e-3 and a clip of 1 the loss went
# from 0.35 to 0.96 after 22,500 images).
SMALL: dict[str, Any] = TINY | {
    "noise_schedule": "zero-terminal",
    "learning_rate": 8e-4,
    "gradient_clip": 0.5,
    "micro_batch": 8,
    "warmup_images": 800,
    "ema_decay": 0.999,
    "width": 192,
    "height": 192,
    "size_range": (160, 224),
    "checkpoint_images": 8_000,
    "sample_images": 8_000,
    "validate_images": 8_000,
}

PUBLISHED: dict[str, Any] = {"styles": ("keras", "anime2sketch", "simplified"), "simplified": "instead"}

# The two stages of the proposed model, and the single one of an ablation.
NOISY: dict[str, Any] = {"epochs": 5.0, "noisy_reference": True, "reference_drop": 0.1}
REFINE: dict[str, Any] = {"epochs": 2.0, "noisy_reference": False, "reference_drop": 0.5, "sketch_drop": 0.1}
ABLATION: dict[str, Any] = {"epochs": 7.0, "noisy_reference": False}
UNCROPPED: dict[str, Any] = {"sketch_crop_max": 0.0}
# Ours (`dataprep.samples.sample_settings`): most drawings whose right colours are known are shown another drawing in
# their colours, so that training meets references as users give them. So fewer references need to be dropped. Sketches
# keep their border: where it is blanked, a network learns to draw what no sketch shows (docs/starter.md).
PALETTE: dict[str, Any] = UNCROPPED | {
    "noisy_reference": False, "reference_drop": 0.1, "recolored": 0.9, "palette_references": 0.9,
}  # fmt: skip
# Ours too (`distillation`): the parent's own guided steps, folded into few.
DISTILL = "v1.distill"
# How long they are at the tiny size; the rate falls at the end of what is sampled from.
FIRST: dict[str, Any] = {"images": 12_000}
LAST: dict[str, Any] = {"images": 12_000, "decay_images": 4_000}
WHOLE: dict[str, Any] = {"images": 24_000, "decay_images": 4_000}
STUDENT: dict[str, Any] = {"images": 2_000, "decay_images": 1_000, "learning_rate": 2e-4, "warmup_images": 100}

#    stage, its parent, the published schedule, the length at the tiny size
TABLE: tuple[tuple[str, str | None, dict[str, Any], dict[str, Any]], ...] = (
    ("v1.noisy", None, NOISY, FIRST),
    ("v1.refine", "v1.noisy", REFINE, LAST),
    ("v1.drop-0.5", None, ABLATION | {"reference_drop": 0.5}, WHOLE),
    ("v1.proj-0.1", None, ABLATION | {"reference_drop": 0.1, "reference_tokens": "proj"}, WHOLE),
    ("v1.cls-0.1", None, ABLATION | {"reference_drop": 0.1, "reference_tokens": "cls"}, WHOLE),
    ("v1.noisy-uncropped", None, NOISY | UNCROPPED, FIRST),
    ("v1.refine-uncropped", "v1.noisy-uncropped", REFINE | UNCROPPED, LAST),
    ("v1.palette", None, {"epochs": 7.0} | PALETTE, WHOLE),
    (DISTILL, None, {"epochs": 1.0} | PALETTE, STUDENT),
)


def _without_epochs(published: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in published.items() if name != "epochs"}


def _longer(length: dict[str, Any]) -> dict[str, Any]:
    """The length of a small stage; the rate falls over its second half."""
    images = 4 * length["images"]
    return length | {"images": images, "decay_images": images // 2}


RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    stage: {
        "base": {"parent_stage": parent, **PUBLISHED, **published},
        "small": {"parent_stage": parent, **_without_epochs(published), **SMALL, **_longer(length)},
        "tiny": {"parent_stage": parent, **_without_epochs(published), **TINY, **length},
    }
    for stage, parent, published, length in TABLE
}
