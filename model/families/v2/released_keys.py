"""Our parameter names and those of the released ColorizeDiffusion v2 files.

The v1 in it is named as in v1's files and the low-rank updates as in v1.5's; what the decoder reads features with lies
beside the UNet's blocks, and both encoders are named as the UNet's encoder is, under prefixes of their own.
"""

from model.errors import ModelError
from model.families.v1.released_keys import UNET_PREFIX
from model.families.v1.released_keys import published_name as v1_name
from model.families.v2.sizes import V2Config
from model.families.v15.released_keys import split_name

_ENCODERS = {"background_encoder": "bg_encoder.", "style_encoder": "style_encoder."}
_INJECTION = {
    "attention.to_q": "attn.to_q",
    "attention.to_k": "attn.to_k",
    "attention.to_v": "attn.to_v",
    "attention.to_out": "attn.to_out.0",
    "mlp.0": "ff.0",
    "mlp.2": "ff.2",
    "norm1": "norm1",
    "norm2": "norm2",
}
_MODULATION = {"norm": "0", "time": "1", "out": "2"}
_RATIO = {"linear_1": "0", "linear_2": "2"}


def published_name(name: str, config: V2Config) -> str:
    """The official key of one of our parameter names. Raises ModelError for shapes that were not released."""
    if config.lora != "released-v2" or config.split_encoders or not (config.background and config.style):
        raise ModelError(
            "the released layout has both encoders, unsplit, and lora=released-v2, not "
            f"background={config.background}, style={config.style}, split_encoders={config.split_encoders} and "
            f"lora={config.lora}"
        )
    part, rest = name.split(".", 1)
    if part in _ENCODERS:
        return _ENCODERS[part] + _encoder_name(rest, config)
    if rest.startswith("background_injections."):
        return _added("warp_modules", rest, _INJECTION)
    if rest.startswith("style_modulations."):
        return _added("style_modules", rest, _MODULATION)
    return split_name(name, config)


def _encoder_name(name: str, config: V2Config) -> str:
    part, rest = name.split(".", 1)
    if part == "outputs":
        return f"zero_layers.{rest}"
    if part == "size_embedding":
        layer, leaf = rest.split(".")
        return f"label_emb.0.{_RATIO[layer]}.{leaf}"
    return v1_name(f"unet.{name}", config).removeprefix(UNET_PREFIX)


def _added(title: str, name: str, stems: dict[str, str]) -> str:
    _, number, stem = name.split(".", 2)
    stem, leaf = stem.rsplit(".", 1)
    return f"{UNET_PREFIX}{title}.{number}.{stems[stem]}.{leaf}"
