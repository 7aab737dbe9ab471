"""Counted operations against published counts, against products by hand, and against each other."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model.families.v1.network import V1
from model.families.v1.sizes import V1_SIZES
from model.frozen.config import IMAGE_ENCODERS
from pipelines.training import flops
from pipelines.training.flops import count_flops, peak_flops

BASE, TINY = V1_SIZES["base"], V1_SIZES["tiny"]


def test_the_published_size_agrees_with_published_counts() -> None:
    """At 512 x 512: SD 2's UNet with image tokens 0.82 TFLOP; ours adds a sketch encoder of some 0.03. Its VAE encoder
    and ViT-H-14 together 1.45."""
    counted = count_flops("v1", BASE, 512, 512)
    assert counted.trained / 3 == pytest.approx(0.85e12, rel=0.02)
    assert counted.frozen == pytest.approx(1.45e12, rel=0.02)
    assert counted.total == counted.trained + counted.frozen


def test_a_layer_is_counted_as_its_product_says() -> None:
    layer = nn.Linear(7, 5, device="meta")
    with FlopCounterMode(display=False) as counter:
        layer(torch.empty(3, 7, device="meta", requires_grad=True)).sum().backward()
    assert counter.get_total_flops() == (1 + flops.BACKWARD) * 2 * 3 * 7 * 5


def test_attention_is_quadratic_and_the_image_encoder_does_the_same_work_at_every_size() -> None:
    small, large = count_flops("v1", BASE, 512, 512), count_flops("v1", BASE, 1024, 1024)
    assert large.trained > 5 * small.trained
    assert large.frozen < 4 * small.frozen


@pytest.mark.parametrize(("width", "height", "within"), [(64, 192, 1e-12), (1280, 768, 1e-12), (1000, 776, 0.02)])
def test_sizes_that_were_not_counted_follow_from_those_that_were(width: int, height: int, within: float) -> None:
    """Counted here at the size itself; sides that are no multiples of 64 are rounded within the network."""
    with torch.device("meta"), torch.no_grad():
        latents, sketch = torch.empty(1, 8, height // 8, width // 8), torch.empty(1, 3, height, width)
        context = torch.empty(1, IMAGE_ENCODERS[TINY.image_encoder].local_tokens, TINY.context_width)
        network = V1(TINY)
        with FlopCounterMode(display=False) as counter:
            network(latents, torch.zeros(1, dtype=torch.long), sketch, context)
    assert count_flops("v1", TINY, width, height).trained == pytest.approx(3 * counter.get_total_flops(), rel=within)


def test_the_class_token_alone_costs_less_than_all_local_ones() -> None:
    local, cls = (count_flops("v1", replace(TINY, reference_tokens=kind), 64, 64).trained for kind in ("local", "cls"))
    assert cls < local


def test_a_processor_has_no_published_peak() -> None:
    assert peak_flops(torch.device("cpu")) is None


def test_the_peak_is_that_of_the_device_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVIDIA's data sheet of H200: 989 dense bf16 TFLOPS. No GPU here, so only the driver's answer is put in place."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    assert peak_flops(torch.device("cuda")) == 989e12
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "something else")
    assert peak_flops(torch.device("cuda")) is None
