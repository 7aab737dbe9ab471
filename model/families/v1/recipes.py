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

PUBLISHED: dict[str, Any] = {"styles": ("keras", "anime2sketch", "simplified"), "simplified": "instead"}

# The two stages of the proposed model, and the single one of an ablation.
NOISY: dict[str, Any] = {"epochs": 5.0, "noisy_reference": True, "reference_drop": 0.1}
REFINE: dict[str, Any] = {"epochs": 2.0, "noisy_reference": False, "reference_drop": 0.5, "sketch_drop": 0.1}
ABLATION: dict[str, Any] = {"epochs": 7.0, "noisy_reference": False}
UNCROPPED: dict[str, Any] = {"sketch_crop_max": 0.0}
# How long they are at the tiny size; the rate falls at the end of what is sampled from.
FIRST: dict[str, Any] = {"images": 12_000}
LAST: dict[str, Any] = {"images": 12_000, "decay_images": 4_000}
WHOLE: dict[str, Any] = {"images": 24_000, "decay_images": 4_000}

#    stage, its parent, the published schedule, the length at the tiny size
TABLE: tuple[tuple[str, str | None, dict[str, Any], dict[str, Any]], ...] = (
    ("v1.noisy", None, NOISY, FIRST),
    ("v1.refine", "v1.noisy", REFINE, LAST),
    ("v1.drop-0.5", None, ABLATION | {"reference_drop": 0.5}, WHOLE),
    ("v1.proj-0.1", None, ABLATION | {"reference_drop": 0.1, "reference_tokens": "proj"}, WHOLE),
    ("v1.cls-0.1", None, ABLATION | {"reference_drop": 0.1, "reference_tokens": "cls"}, WHOLE),
    ("v1.noisy-uncropped", None, NOISY | UNCROPPED, FIRST),
    ("v1.refine-uncropped", "v1.noisy-uncropped", REFINE | UNCROPPED, LAST),
)

RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    stage: {
        "base": {"parent_stage": parent, **PUBLISHED, **published},
        "tiny": {"parent_stage": parent, **{k: v for k, v in published.items() if k != "epochs"}, **TINY, **length},
    }
    for stage, parent, published, length in TABLE
}
