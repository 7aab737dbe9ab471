"""The sketch encoder agrees with the released one and starts as nothing."""

import torch

from model.backbone.sketch_encoder import SketchEncoder
from model.families.v1.network import V1
from model.families.v1.sizes import V1_SIZES
from tests.model.golden import assert_golden, golden


@torch.no_grad()
def test_hints_agree_with_the_released_encoder(ruled: tuple[V1, dict[str, torch.Tensor]]) -> None:
    tensors, metadata = golden("v1_sketch_encoder")
    model, weights = ruled
    encoder_weights = [w for key, w in weights.items() if key.startswith("control_encoder.")]
    assert len(encoder_weights) == int(metadata["weights_count"])
    assert abs(sum(float(w.double().abs().sum()) for w in encoder_weights) - float(metadata["weights_abs_sum"])) < 0.01

    assert_golden(model.sketch_encoder.stem(tensors["sketch"]), tensors["stem"])
    hints = model.encode_sketch(tensors["sketch"])
    assert len(hints) == 5
    for index, hint in enumerate(hints):
        assert_golden(hint, tensors[f"hint_{index}"])


def test_hints_halve_from_an_eighth_and_the_last_two_share_a_size() -> None:
    hints = SketchEncoder(V1_SIZES["tiny"])(torch.zeros(1, 3, 64, 128))
    assert [tuple(hint.shape[1:]) for hint in hints] == [
        (32, 8, 16),
        (32, 4, 8),
        (64, 2, 4),
        (64, 1, 2),
        (64, 1, 2),
    ]


def test_an_untrained_encoder_gives_zero_hints_that_still_learn() -> None:
    encoder = SketchEncoder(V1_SIZES["tiny"])
    hints = encoder(torch.randn(1, 3, 64, 64))
    assert all(hint.abs().max() == 0 for hint in hints)
    sum((hint - 1).square().sum() for hint in hints).backward()
    ends = [encoder.stem_hint, *encoder.block_hints]
    assert all(end.weight.grad.abs().max() > 0 for end in ends)


@torch.no_grad()
def test_strength_scales_every_hint(ruled: tuple[V1, dict[str, torch.Tensor]]) -> None:
    sketch = torch.randn(1, 3, 64, 64)
    whole, part = (ruled[0].encode_sketch(sketch, strength) for strength in (1.0, 0.25))
    assert all(torch.allclose(p, w / 4) for w, p in zip(whole, part, strict=True))
