"""The table of feature networks: what each sees pictures with, by the name that a score bears.

To add one: a file beside this one with its network and what computes its features, its weights in
`model.weights.catalogue`, and its row here. A metric then asks for `result@NAME` (eval.metrics.views).
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from torch import Tensor

_HERE = "model.feature_networks."
EFFICIENTNET_LITE0 = "efficientnet_lite0_320"


@dataclass(frozen=True)
class Features:
    """One way to see pictures.

    networks: of the weight store, by their names in the catalogue; none for efficientnet, whose weights a package of
    pip brings.
    function: "module:function" of this package, (networks, then pictures or texts) -> (B, dims).
    """

    networks: tuple[str, ...]
    dims: int
    function: str
    resize: str

    def compute(self) -> Callable[..., Tensor]:
        """The function itself; what it needs is imported here."""
        module, _, name = self.function.partition(":")
        found: Callable[..., Tensor] = getattr(import_module(_HERE + module), name)
        return found


FEATURES: dict[str, Features] = {
    EFFICIENTNET_LITE0: Features((), 320, "efficientnet:features", "squash to 224x224, bicubic, antialiased"),
    "inception_2048": Features(
        ("inception_2015",), 2048, "inception:features", "squash to 299x299, bilinear, not antialiased (pytorch-fid)"
    ),
    "inception_2048_clean": Features(
        ("inception_2015",), 2048, "inception:clean_features", "squash to 299x299, bicubic, antialiased (clean-fid)"
    ),
    "dinov2_vitl14": Features(("dinov2_vitl14",), 1024, "dinov2:features", "squash to 224x224, bicubic, antialiased"),
    "clip_vitl14_336": Features(
        ("clip_vitl14_336",), 768, "clip:image_features", "squash to 336x336, bicubic, antialiased"
    ),
    "clip_vith14": Features(("ViT-H-14",), 1024, "clip:image_features", "squash to 224x224, bicubic, antialiased"),
    "clip_vith14_text": Features(("ViT-H-14-text",), 1024, "clip:text_features", "of words: 77 tokens"),
    "gram_vith14": Features(("ViT-H-14",), 257, "clip:gram_divergence", "squash to 224x224, bicubic, antialiased"),
    "aesthetic_v25": Features(
        ("siglip_so400m", "aesthetic_v25"), 1, "aesthetic:scores", "squash to 384x384, bicubic, antialiased"
    ),
    "lpips_alex": Features(("lpips",), 1, "lpips:alex_distance", "at the pictures' own size"),
    "lpips_vgg": Features(("lpips",), 1, "lpips:vgg_distance", "at the pictures' own size"),
}
