"""ISNet against numbers of the released code, and its weights out of an ONNX export and a package."""

import json
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from model.errors import ModelError
from model.extractors.masks.isnet import PACKAGE_SHA256, ISNet, Unit, from_onnx, from_package
from tests.model.golden import golden, published_entries, with_rule_weights


@pytest.fixture(scope="module")
def network() -> Iterator[ISNet]:
    with torch.inference_mode():
        yield with_rule_weights(ISNet())


def _copy(network: ISNet) -> ISNet:
    copy = ISNet().eval()
    copy.load_state_dict(network.state_dict())
    return copy


def _error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


def test_entries_are_the_published_ones() -> None:
    with torch.device("meta"):
        entries = ISNet().state_dict()
    kinds = {torch.float32: "F32", torch.int64: "I64"}
    ours = {key: (str(list(tensor.shape)), kinds[tensor.dtype]) for key, tensor in entries.items()}
    assert ours == published_entries("isnetdis")


def test_parameters_are_as_many_as_published() -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in ISNet().parameters()) == 44_046_790


def test_weights_by_rule_are_those_of_the_golden_run(network: ISNet) -> None:
    total = sum(float(tensor.double().abs().sum()) for tensor in network.state_dict().values())
    assert total == pytest.approx(float(golden("isnetdis")[1]["weights_abs_sum"]), rel=1e-7)


def test_all_masks_are_those_of_the_released_network(network: ISNet) -> None:
    tensors, _ = golden("isnetdis")
    sides = network.logits(tensors["x"])
    assert len(sides) == 6
    for number in (1, 3, 6):
        assert _error(sides[number - 1], tensors[f"d{number}"]) < 1e-5
    assert _error(network(tensors["x"]), tensors["sigmoid_d1"]) < 1e-5


@pytest.mark.parametrize("precision", ISNet.half_precision)
def test_the_golden_mask_holds_to_a_hundredth_in_the_half_precision_that_is_offered(
    network: ISNet, precision: str
) -> None:
    dtype, tensors = getattr(torch, precision), golden("isnetdis")[0]
    mask = _copy(network).fused().to(dtype)(tensors["x"].to(dtype))
    assert mask.dtype == dtype
    assert _error(mask.float(), tensors["sigmoid_d1"]) < 4e-3


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (5, 3), (64, 300), (97, 65)])
def test_inputs_of_any_size_give_a_mask_of_that_size(network: ISNet, size: tuple[int, int]) -> None:
    mask = network(torch.rand(1, 3, *size))
    assert mask.shape == (1, 1, *size)
    assert mask.min() >= 0
    assert mask.max() <= 1


def test_a_picture_has_the_same_mask_alone_and_in_a_batch(network: ISNet) -> None:
    batch = torch.rand(3, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    together = network(batch)
    assert together.std() > 0.05
    for number in range(3):
        torch.testing.assert_close(network(batch[number : number + 1])[0], together[number], rtol=0, atol=1e-5)


def test_fused_gives_the_same_mask_without_batch_norms(network: ISNet) -> None:
    x = golden("isnetdis")[0]["x"]
    fused = _copy(network).fused()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert _error(fused(x), network(x)) < 1e-5


def _export(weight: torch.Tensor, bias: torch.Tensor) -> bytes:
    """An ONNX file of one convolution, in half precision, named as an exporter names it."""
    given = {"w": weight.half(), "b": bias.half()}
    node = onnx.helper.make_node("Conv", ["x", "w", "b"], ["y"], name="/stage1/rebnconv2/conv_s1/Conv")
    values = [onnx.numpy_helper.from_array(tensor.numpy(), name) for name, tensor in given.items()]
    sides = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT16, None) for name in "xy"]
    return onnx.helper.make_model(
        onnx.helper.make_graph([node], "net", sides[:1], sides[1:], values)
    ).SerializeToString()


def test_an_export_gives_its_convolutions_by_name_and_batch_norms_that_change_nothing() -> None:
    weight, bias, x = torch.randn(32, 32, 3, 3), torch.randn(32), torch.randn(1, 32, 8, 8)
    tensors, prefix = from_onnx(_export(weight, bias)), "stage1.rebnconv2."
    assert tensors[prefix + "conv_s1.weight"].dtype == torch.float32
    unit = Unit(32, 32).eval()
    unit.load_state_dict({key.removeprefix(prefix): tensors[key] for key in tensors if key.startswith(prefix)})
    with torch.inference_mode():
        plain = nn.functional.conv2d(x, weight.half().float(), bias.half().float(), padding=1).relu()
        torch.testing.assert_close(unit(x), plain, rtol=0, atol=1e-5)
    with torch.device("meta"):
        absent = ISNet().state_dict().keys() - tensors.keys()
    assert len(absent) == 2 * 118
    assert not any("bn_s1" in key for key in absent)


@pytest.mark.parametrize(
    ("chunks", "complaint"),
    [
        ([{"hash": "../../secret"}], "is no chunk"),
        ([{"hash": "a" * 64}], "in one piece"),
        ([{"hash": "b" * 64}], f"is not the published file, whose sha256 is {PACKAGE_SHA256}"),
        ([{}], "in one piece"),
        ([{"hash": 7}], "in one piece"),
        ("text", "in one piece"),
    ],
)
def test_a_package_with_other_content_is_refused_in_one_line(tmp_path: Path, chunks: object, complaint: str) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "dist" / ("b" * 64)).write_bytes(b"other bytes")
    (tmp_path / "dist" / "resources.json").write_text(json.dumps({"/models/medium": {"chunks": chunks}}))
    with pytest.raises(ModelError, match=complaint) as caught:
        from_package(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"resources\.json"):
        from_package(tmp_path)
