"""Weights trained elsewhere become checkpoints and go back, bit by bit; what does not fit is refused by name."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dataprep.storage.store import join, read_bytes
from model.checkpoint import CheckpointMetadata, load_checkpoint, read_metadata, save_checkpoint
from model.conversion.stable_diffusion_keys import ema_name, to_ldm_autoencoder
from model.diffusion.noise import PredictionType
from model.errors import ModelError
from model.families.v1.network import V1
from model.families.v1.released_keys import published_name, schedule_buffers, to_published
from model.families.v1.sizes import V1_SIZES, V1Config
from model.frozen.codec import build_codec, load_codec
from model.frozen.config import CODECS
from model.weights.reading import sha256
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.weights.convert import convert, export
from pipelines.weights.frozen import weights_file
from pipelines.weights.inspection import inspect
from tests.pipelines.training.untrained import write_checkpoint

SMALL = {
    "small": V1Config(
        model_channels=32,
        head_width=32,
        context_width=64,
        codec="sd-vae",
        image_encoder="ViT-H-14",
        latent_channels=4,
        stem_widths=(8,) * 7,
    )
}
UNET = {
    "attention_head_dim": [1, 2, 4, 4],
    "block_out_channels": [32, 64, 128, 128],
    "cross_attention_dim": 64,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    "use_linear_projection": True,
}
SCHEDULER = {"prediction_type": "v_prediction", "beta_schedule": "scaled_linear", "beta_start": 0.00085}


def noise(expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {key: torch.randn(tensor.shape) for key, tensor in expected.items()}


def load_v1(directory: Path) -> tuple[V1, CheckpointMetadata]:
    model, metadata = load_checkpoint(directory)
    assert isinstance(model, V1)
    return model, metadata


@pytest.fixture(scope="module")
def released() -> dict[str, torch.Tensor]:
    """The trained part of a released file of the tiny size."""
    with torch.device("meta"):
        model = V1(V1_SIZES["tiny"])
    return noise(to_published(model))


@pytest.fixture(scope="module")
def unet() -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        expected = UNet2DConditionModel.from_config(UNET).state_dict()
    return noise(expected)


def diffusers_folder(folder: Path, weights: Mapping[str, torch.Tensor], **settings: Any) -> str:
    for part, said in (("unet", UNET), ("scheduler", SCHEDULER)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part / name).write_text(json.dumps(said | settings.get(part, {})))
    save_file(dict(weights), folder / "unet" / "diffusion_pytorch_model.safetensors")
    return str(folder)


def ldm_file(path: Path, unet: Mapping[str, torch.Tensor], **more: torch.Tensor) -> str:
    names = {published_name(f"unet.{name}", SMALL["small"]): tensor for name, tensor in unet.items()}
    torch.save({"state_dict": names | more, "global_step": 220000}, path)
    return str(path)


def file_of(path: Path, tensors: dict[str, torch.Tensor]) -> str:
    save_file(tensors, path)
    return str(path)


def test_a_released_file_goes_there_and_back_bit_by_bit(tmp_path: Path, released: dict[str, torch.Tensor]) -> None:
    whole = released | schedule_buffers()
    source = file_of(tmp_path / "any-name.safetensors", whole)
    made = convert(source, str(tmp_path / "out"), "eps")
    assert (made.stage, made.size, made.prediction_type, made.source) == ("released", "tiny", "eps", source)
    assert (made.width, made.codec) == (128, "tiny")
    model, metadata = load_v1(tmp_path / "out")
    assert metadata == made
    assert all(torch.equal(tensor, released[key]) for key, tensor in to_published(model).items())
    written = export(str(tmp_path / "out"), str(tmp_path / "back.safetensors"))
    assert (written.entries, written.has_autoencoder) == (len(whole), False)
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == whole.keys()
    assert all(torch.equal(back[key], whole[key]) for key in whole)
    again = convert(str(tmp_path / "back.safetensors"), str(tmp_path / "again"))  # our own file says what it predicts
    assert (again.weights_sha256, again.prediction_type) == (made.weights_sha256, "eps")
    export(str(tmp_path / "out"), str(tmp_path / "bare.safetensors"), schedule=False)
    assert load_file(tmp_path / "bare.safetensors").keys() == released.keys()


@pytest.mark.parametrize("widths", [(32, 32, 64, 64), pytest.param((128, 256, 512, 512), marks=pytest.mark.slow)])
def test_the_bundled_autoencoder_travels_in_its_own_precision(
    tmp_path: Path, widths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers as Stable Diffusion's, with fewer channels; slow: with all of them."""
    monkeypatch.setitem(CODECS, "sd-vae", replace(CODECS["sd-vae"], block_channels=widths))
    with torch.device("meta"):
        trained, codec = V1(SMALL["small"]), build_codec("sd-vae").autoencoder
    autoencoder = {
        key: torch.full(tensor.shape, 0.001 * place, dtype=torch.float16)
        for place, (key, tensor) in enumerate(to_ldm_autoencoder(codec.state_dict()).items())
    }
    whole = noise(to_published(trained)) | autoencoder | schedule_buffers()
    source, out = file_of(tmp_path / "a.safetensors", whole), tmp_path / "out"
    convert(source, str(out), "v", sizes=SMALL)
    assert weights_file("sd-vae", out) == out / "sd-vae.safetensors"
    loaded = load_codec("sd-vae", weights_file("sd-vae", out)).autoencoder.decoder.conv_in.bias
    assert float(loaded[0]) == float(autoencoder["first_stage_model.decoder.conv_in.bias"][0])
    assert export(str(out), str(tmp_path / "b.safetensors")).has_autoencoder
    back = load_file(tmp_path / "b.safetensors")
    assert {key: tensor.dtype for key, tensor in back.items()} == {key: tensor.dtype for key, tensor in whole.items()}
    assert all(torch.equal(back[key], whole[key]) for key in whole)


@torch.no_grad()
@pytest.mark.parametrize("layout", ["ldm", "diffusers"])
def test_a_converted_stable_diffusion_computes_what_it_did(
    tmp_path: Path, unet: dict[str, torch.Tensor], layout: str
) -> None:
    said: PredictionType | None
    if layout == "diffusers":
        source, said = diffusers_folder(tmp_path / "sd", unet), None
    else:
        source, said = ldm_file(tmp_path / "sd.ckpt", unet, **{"cond_stage_model.a": torch.zeros(1)}), "v"
    made = convert(source, str(tmp_path / "out"), said, sizes=SMALL)
    assert (made.stage, made.prediction_type) == ("stable-diffusion", "v")
    model, _ = load_v1(tmp_path / "out")
    state = model.state_dict()
    assert all(torch.equal(state[f"unet.{name}"].flatten(), tensor.flatten()) for name, tensor in unet.items())
    hints = model.encode_sketch(torch.randn(1, 3, 64, 64))
    assert not any(bool(hint.any()) for hint in hints)
    assert bool(model.sketch_encoder.get_parameter("stem.0.weight").any())


def test_the_prediction_must_be_known_or_given(
    tmp_path: Path, unet: dict[str, torch.Tensor], released: dict[str, torch.Tensor]
) -> None:
    source = ldm_file(tmp_path / "sd.ckpt", unet)
    with pytest.raises(SettingsError, match=r"whether it predicts eps or v cannot be known.*give --prediction-type"):
        convert(source, str(tmp_path / "out"), sizes=SMALL)
    (tmp_path / "sd.yaml").write_text("model: {params: {parameterization: v, linear_start: 0.00085}}")
    assert inspect(source, tmp_path, SMALL).prediction_type == "v"
    with pytest.raises(SettingsError, match=r"--prediction-type eps: .* predicts v, as the \.yaml beside it says"):
        convert(source, str(tmp_path / "out"), "eps", sizes=SMALL)
    (tmp_path / "sd.yaml").write_text("model: {params: {linear_start: 0.00085}}")
    assert inspect(source, tmp_path, SMALL).prediction_type == "eps"
    released_file = file_of(tmp_path / "v1.safetensors", released)
    (tmp_path / "v1.yaml").write_text("model: {params: {linear_start: 0.00085}}")  # v1's own files have no such entry
    with pytest.raises(SettingsError, match="give --prediction-type"):
        convert(released_file, str(tmp_path / "out"))
    (tmp_path / "v1.yaml").write_text("model: {params: {parameterization: v}}")
    assert inspect(released_file, tmp_path).prediction_type == "v"
    (tmp_path / "sd.yaml").write_text("!!python/object/apply:os.mkdir [trap]")
    with pytest.raises(ModelError, match="not readable as settings"):
        inspect(source, tmp_path, SMALL)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"unet": {"attention_head_dim": 8}}, r"attention_head_dim \[8, 8, 8, 8\] instead of \[1, 2, 4, 4\]"),
        ({"scheduler": {"rescale_betas_zero_snr": True}}, "rescale_betas_zero_snr True"),
        ({"scheduler": {"beta_schedule": "linear"}}, "beta_schedule linear instead of scaled_linear"),
        ({"scheduler": {"prediction_type": "sample"}}, "predicts 'sample'; eps or v is needed"),
    ],
)
def test_settings_that_shapes_do_not_show_are_compared(
    tmp_path: Path, unet: dict[str, torch.Tensor], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        convert(diffusers_folder(tmp_path / "sd", unet, **settings), str(tmp_path / "out"), sizes=SMALL)
    assert not (tmp_path / "out").exists()


def test_another_noise_schedule_in_the_file_is_refused(tmp_path: Path, released: dict[str, torch.Tensor]) -> None:
    other = {"alphas_cumprod": schedule_buffers()["alphas_cumprod"] * 0.999}
    with pytest.raises(ModelError, match="alphas_cumprod of another noise schedule"):
        convert(file_of(tmp_path / "a.safetensors", released | other), str(tmp_path / "out"), "eps")


def test_the_moving_average_is_taken_where_it_is_asked_for(tmp_path: Path, released: dict[str, torch.Tensor]) -> None:
    unet = {key: tensor for key, tensor in released.items() if key.startswith("model.")}
    averaged = {ema_name(key): tensor + 1 for key, tensor in unet.items()}
    assert "model_ema.diffusion_modelout2bias" in averaged
    source = file_of(tmp_path / "a.safetensors", released | averaged | {"model_ema.decay": torch.tensor(0.9999)})
    convert(source, str(tmp_path / "ema"), "eps", use_ema=True)
    found = to_published(load_v1(tmp_path / "ema")[0])
    assert all(torch.equal(found[key], released[key] + (key in unet)) for key in released)
    convert(source, str(tmp_path / "raw"), "eps")
    assert all(torch.equal(t, released[k]) for k, t in to_published(load_v1(tmp_path / "raw")[0]).items())
    with pytest.raises(ModelError, match=r"holds no moving average \(model_ema"):
        convert(file_of(tmp_path / "b.safetensors", released), str(tmp_path / "c"), "eps", use_ema=True)


def test_everything_that_does_not_match_is_told_at_once(tmp_path: Path, released: dict[str, torch.Tensor]) -> None:
    gone, bent, *_ = sorted(key for key in released if key.startswith("model.") and key.endswith("bias"))
    tensors = {key: tensor for key, tensor in released.items() if key != gone}
    tensors |= {bent: torch.zeros(7), "control_encoder.extra": torch.zeros(1)}
    with pytest.raises(ModelError) as caught:
        convert(file_of(tmp_path / "a.safetensors", tensors), str(tmp_path / "out"), "eps")
    for said in (f"unet, missing: {gone}", f"{bent} [7] instead of", "unknown: control_encoder.extra"):
        assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.safetensors"]


def test_numbers_that_are_none_leave_nothing_behind(tmp_path: Path, released: dict[str, torch.Tensor]) -> None:
    key = "model.diffusion_model.out.2.bias"
    for wrong, said in ((released[key] * torch.nan, "NaN or infinity"), (released[key].long(), "int64")):
        source = file_of(tmp_path / "a.safetensors", released | {key: wrong})
        with pytest.raises(ModelError, match=said):
            convert(source, str(tmp_path / "out"), "eps")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.safetensors"]


def test_other_families_are_refused_by_name(
    tmp_path: Path, released: dict[str, torch.Tensor], unet: dict[str, torch.Tensor]
) -> None:
    later = file_of(tmp_path / "a.safetensors", released | {"control_encoder.proj_ins.0.weight": torch.zeros(1)})
    wide = {key: torch.zeros(t.shape[0], 768) if "attn2.to_k" in key else t for key, t in unet.items()}
    for source, said in (
        (later, "is of family xl"),
        (diffusers_folder(tmp_path / "sd15", wide), "is of family stable-diffusion-1"),
        (file_of(tmp_path / "b.safetensors", {"x": torch.zeros(1)}), "no diffusion model known here"),
    ):
        with pytest.raises(PipelineError, match=said):
            convert(source, str(tmp_path / "out"), "eps")
    made = convert(file_of(tmp_path / "c.safetensors", released), str(tmp_path / "c"), "eps")
    with pytest.raises(PipelineError, match="a checkpoint of irodori already"):
        convert(str(tmp_path / "c"), str(tmp_path / "d"))
    with pytest.raises(PipelineError, match="holds a checkpoint already"):
        convert(str(tmp_path / "c.safetensors"), str(tmp_path / "c"), "v")
    assert read_metadata(tmp_path / "c") == made


def test_the_moving_average_of_a_training_is_exported(tmp_path: Path, released: dict[str, torch.Tensor]) -> None:
    made = convert(file_of(tmp_path / "a.safetensors", released), str(tmp_path / "out"), "eps")
    model, _ = load_v1(tmp_path / "out")
    averaged = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    save_checkpoint(tmp_path / "trained", model, made, ema=averaged)
    export(str(tmp_path / "trained"), str(tmp_path / "b.safetensors"), use_ema=True)
    with safe_open(tmp_path / "b.safetensors", "pt") as file:
        assert file.metadata()["modelspec.prediction_type"] == "epsilon"
        key = "control_encoder.model.0.bias"
        assert torch.equal(file.get_tensor(key), released[key] + 1)
    with pytest.raises(SettingsError, match=r"is a \.safetensors file"):
        export(str(tmp_path / "out"), str(tmp_path / "b.ckpt"))


def test_an_exported_file_says_what_it_is_and_nothing_of_where_it_was(
    tmp_path: Path, released: dict[str, torch.Tensor]
) -> None:
    made = convert(file_of(tmp_path / "a.safetensors", released), str(tmp_path / "out"), "eps")
    model, _ = load_v1(tmp_path / "out")
    known = replace(made, parent="/home/someone/parent", corpus_digest="0f/1e", corpus_snapshot=3)
    saved = save_checkpoint(tmp_path / "trained", model, known, ema=model.state_dict())
    for use_ema, weights in ((False, saved.weights_sha256), (True, saved.ema_sha256)):
        export(str(tmp_path / "trained"), str(tmp_path / f"{use_ema}.safetensors"), use_ema)
        with safe_open(tmp_path / f"{use_ema}.safetensors", "pt") as file:
            header = file.metadata()
        assert "/" not in json.dumps(header)
        assert json.loads(header["irodori.checkpoint"]) == {
            "stage": "released",
            "size": "tiny",
            "width": 128,
            "height": 128,
            "prediction_type": "eps",
            "scaling_factor": saved.scaling_factor,
            "source_sha256": sha256(tmp_path / "a.safetensors"),
            "code_version": saved.code_version,
            "weights_sha256": weights,
        }


def test_what_was_trained_here_is_known_again_while_its_weights_are_the_same(
    tmp_path: Path, released: dict[str, torch.Tensor]
) -> None:
    made = convert(file_of(tmp_path / "a.safetensors", released), str(tmp_path / "out"), "eps")
    model, _ = load_v1(tmp_path / "out")
    trained = replace(made, stage="v1.noisy", width=192, height=96)
    save_checkpoint(tmp_path / "trained", model, trained)
    export(str(tmp_path / "trained"), str(tmp_path / "b.safetensors"))
    back = convert(str(tmp_path / "b.safetensors"), str(tmp_path / "back"))
    assert (back.stage, back.width, back.height) == ("v1.noisy", 192, 96)
    assert load_checkpoint(tmp_path / "back")[1] == back
    with safe_open(tmp_path / "b.safetensors", "pt") as file:
        header, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    changed = "model.diffusion_model.out.2.bias"
    for name, weights, note in (
        ("other", tensors | {changed: tensors[changed] + 1}, header["irodori.checkpoint"]),
        ("stage", tensors, header["irodori.checkpoint"].replace("v1.noisy", "v9")),
        ("junk", tensors, "[]"),
    ):
        save_file(weights, tmp_path / f"{name}.safetensors", header | {"irodori.checkpoint": note})
        assert convert(str(tmp_path / f"{name}.safetensors"), str(tmp_path / name)).stage == "released"


def test_weights_of_another_noise_schedule_are_not_exported(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "own", noise_schedule="zero-terminal", prediction_type="v")
    with pytest.raises(PipelineError, match="trained under the noise schedule zero-terminal"):
        export(str(tmp_path / "own"), str(tmp_path / "out.safetensors"))
    assert not (tmp_path / "out.safetensors").exists()


def test_an_export_replaces_nothing_and_goes_nowhere_else(tmp_path: Path, released: dict[str, torch.Tensor]) -> None:
    made = convert(file_of(tmp_path / "a.safetensors", released), str(tmp_path / "out"), "eps")
    with pytest.raises(PipelineError, match="is there already; choose another --out"):
        export(str(tmp_path / "out"), str(tmp_path / "out" / "model.safetensors"))
    assert load_checkpoint(tmp_path / "out")[1] == made
    with pytest.raises(SettingsError, match="a path or an s3:// address is needed"):
        export(str(tmp_path / "out"), "hf://someone/model/a.safetensors")


@pytest.mark.s3
def test_an_export_goes_to_s3_whole(tmp_path: Path, released: dict[str, torch.Tensor], s3_prefix: str) -> None:
    convert(file_of(tmp_path / "a.safetensors", released), str(tmp_path / "out"), "eps")
    there = join(s3_prefix, "shared", "a.safetensors")
    written = export(str(tmp_path / "out"), there)
    assert written.address == there
    (tmp_path / "back.safetensors").write_bytes(read_bytes(there))
    back = load_file(tmp_path / "back.safetensors")
    assert all(torch.equal(back[key], tensor) for key, tensor in released.items())
    with pytest.raises(PipelineError, match="is there already"):
        export(str(tmp_path / "out"), there)


def test_a_folder_of_several_files_has_one_hash(
    tmp_path: Path, unet: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CODECS, "sd-vae", replace(CODECS["sd-vae"], block_channels=(32, 32, 64, 64)))
    source = Path(diffusers_folder(tmp_path / "sd", unet))
    (source / "vae").mkdir()
    save_file(build_codec("sd-vae").autoencoder.state_dict(), source / "vae" / "diffusion_pytorch_model.safetensors")
    made = convert(str(source), str(tmp_path / "out"), sizes=SMALL)
    assert (tmp_path / "out" / "sd-vae.safetensors").is_file()
    assert made.source_sha256 is not None
    assert len(bytes.fromhex(made.source_sha256)) == 32
