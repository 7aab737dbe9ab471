"""The companions of the WD taggers, as the published ones are, and narrow networks of the same four architectures."""

from typing import Any

RATINGS = ["general", "sensitive", "questionable", "explicit"]
FED = {
    "input_size": [3, 448, 448],
    "interpolation": "bicubic",
    "crop_pct": 1.0,
    "crop_mode": "center",
    "mean": [0.5] * 3,
    "std": [0.5] * 3,
}
# As the published config.json have them.
SWIN: dict[str, Any] = {
    "architecture": "swinv2_base_window8_256",
    "num_features": 1024,
    "global_pool": "avg",
    "model_args": {"act_layer": "gelu", "img_size": 448, "window_size": 14},
}
VIT = {"class_token": False, "fc_norm": False, "global_pool": "avg", "img_size": 448}
PUBLISHED: dict[str, dict[str, Any]] = {
    "wd_swinv2_v2": SWIN | {"num_classes": 9083},
    "wd_swinv2_v3": SWIN | {"num_classes": 10861},
    "wd_vit_v3": {"architecture": "vit_base_patch16_224", "num_classes": 10861, "model_args": VIT},
    "wd_convnext_v3": {"architecture": "convnext_base", "num_classes": 10861, "global_pool": "avg"},
    "wd_vit_large_v3": {"architecture": "vit_large_patch16_224", "num_classes": 10861, "model_args": VIT},
    "wd_eva02_large_v3": {"architecture": "eva02_large_patch14_448", "num_classes": 10861, "global_pool": "avg"},
}
# The same four architectures, narrow and shallow.
SMALL = {
    "wd_swinv2_v3": {"embed_dim": 16, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8]},
    "wd_vit_v3": {"embed_dim": 32, "depth": 2, "num_heads": 2},
    "wd_convnext_v3": {"depths": [1, 1, 2, 1], "dims": [8, 16, 32, 64]},
    "wd_eva02_large_v3": {"embed_dim": 48, "depth": 2, "num_heads": 2},
}
TAGS = ["1girl", "solo", "^_^", 'don\'t_say_"lazy"', "star_(symbol)", "ganyu_(genshin_impact)"]


def csv_rows(general: int = 5, character: int = 1) -> list[dict[str, str]]:
    """Ratings, general and character labels as the published files list them."""
    general_names = [*TAGS[:5], *(f"tag_{number}" for number in range(general))][:general]
    character_names = [TAGS[5], *(f"name_{number}" for number in range(character))][:character]
    named = [*((name, "9") for name in RATINGS), *((name, "0") for name in general_names)]
    named += [(name, "4") for name in character_names]
    return [{"tag_id": "7", "name": name, "category": category, "count": "600"} for name, category in named]


def companions(config: dict[str, Any], rows: list[dict[str, str]] | None = None) -> dict[str, Any]:
    rows = csv_rows() if rows is None else rows
    return {"config.json": {"num_classes": len(rows), "pretrained_cfg": FED} | config, "selected_tags.csv": rows}


def small_config(name: str) -> dict[str, Any]:
    config = PUBLISHED[name]
    return config | {"num_classes": 10, "model_args": config.get("model_args", {}) | SMALL[name]}
