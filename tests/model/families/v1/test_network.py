"""V1 as a whole: what its reference tokens become, which parameters learn, how large it is, its precision."""

from typing import Any

import pytest
import torch

from model.backbone.attention import AttentionControls, SelfAttentionBank
from model.backbone.config import ReferenceTokens as Tokens
from model.families.v1.network import V1
from model.families.v1.sizes import V1_SIZES, V1Config
from tests.model.golden import off

KINDS: tuple[Tokens, ...] = ("local", "cls", "proj")
WIDTH = 12


def small(tokens: Tokens) -> V1:
    """A v1 of two narrow levels whose every weight is drawn, so that no branch is silent."""
    torch.manual_seed(4)
    model = V1(
        V1Config(
            model_channels=32,
            head_width=32,
            context_width=WIDTH,
            codec="tiny",
            image_encoder="tiny",
            channel_multipliers=(1, 1),
            res_blocks=1,
            stem_widths=(8,) * 7,
            reference_tokens=tokens,
            projected_tokens=5,
        )
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def tokens_for(kind: Tokens, rows: int = 2) -> torch.Tensor:
    return torch.randn(rows, 4 if kind == "local" else 1, WIDTH)


def test_local_and_class_tokens_are_the_context_themselves() -> None:
    for kind in ("local", "cls"):
        tokens = tokens_for(kind)
        assert torch.equal(small(kind).encode_context(tokens), tokens)


@torch.no_grad()
def test_a_class_token_is_spread_over_many_by_two_linear_layers() -> None:
    model, token = small("proj"), torch.randn(2, 1, WIDTH)
    found = model.encode_context(token)
    assert found.shape == (2, 5, WIDTH)
    weights = {name.removeprefix("projection.spread."): p for name, p in model.named_parameters() if "spread" in name}
    hidden = weights["0.weight"] @ token[1, 0] + weights["0.bias"]
    spread = weights["2.weight"] @ (hidden * hidden.sigmoid()) + weights["2.bias"]
    torch.testing.assert_close(found[1, 3], spread[3 * WIDTH : 4 * WIDTH])


@torch.no_grad()
def test_a_row_without_a_reference_stays_zeros_when_spread() -> None:
    token = torch.randn(3, 1, WIDTH)
    token[1] = 0
    found = small("proj").encode_context(token)
    assert found.abs().amax(dim=(1, 2)).gt(0).tolist() == [True, False, True]


@pytest.mark.parametrize("kind", ["cls", "proj"])
def test_more_than_one_class_token_is_refused(kind: Tokens) -> None:
    with pytest.raises(ValueError, match=f"'{kind}' takes one class token, not 4"):
        small(kind).encode_context(tokens_for("local"))


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_zeros_and_a_row_that_is_left_out_are_one(kind: Tokens) -> None:
    model, tokens = small(kind).eval(), tokens_for(kind)
    latents, sketch = torch.randn(3, 4, 4, 4), torch.randn(3, 3, 32, 32)
    timesteps = torch.tensor([5, 500, 900])
    zeros = torch.cat([tokens, torch.zeros_like(tokens[:1])])
    expected, found = (model(latents, timesteps, sketch, given) for given in (zeros, tokens))
    assert off(found, expected) < 1e-6
    assert off(found[2:], model(latents[2:], timesteps[2:], sketch[2:], tokens[:1])) > 1e-3, "the reference is seen"


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_branches_that_are_computed_once_as_far_as_they_are_alike_are_rows_of_their_own(kind: Tokens) -> None:
    model, latents = small(kind).eval(), torch.randn(2, 4, 4, 4)
    hints = [torch.cat([hint] * 2) for hint in model.encode_sketch(torch.randn(2, 3, 32, 32))]
    context, first = (
        model.project(model.encode_context(tokens_for(kind))),
        model.unet.get_submodule("down_blocks.0.resnets.0"),
    )
    rows: list[int] = []
    first.register_forward_hook(lambda module, given, result: rows.append(len(result)))
    apart = model.denoise(torch.cat([latents] * 2), torch.tensor([500] * 4), hints, context)
    together = model.denoise(latents, torch.tensor([500]), hints, context, branches=2)
    assert rows == [4, 2]
    assert off(together, apart) < 1e-6
    assert off(together[2:], together[:2]) > 1e-3
    for bank in (SelfAttentionBank().write(), None):
        with pytest.raises(ValueError, match="branches need one timestep and no bank"):
            model.denoise(latents, torch.tensor([500] * (1 + (bank is None))), hints, context, branches=2, bank=bank)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_receives_a_gradient(kind: Tokens) -> None:
    model = small(kind)
    prediction = model(torch.randn(2, 4, 8, 8), torch.tensor([1, 900]), torch.randn(2, 3, 64, 64), tokens_for(kind))
    prediction.square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not without


@torch.no_grad()
def test_bf16_weights_predict_in_the_precision_of_the_latents() -> None:
    model = small("proj").eval()
    arguments = torch.randn(1, 4, 8, 8), torch.tensor([500]), torch.randn(1, 3, 64, 64), tokens_for("proj", 1)
    expected, found = model(*arguments), model.bfloat16()(*arguments)
    assert found.dtype == torch.float32
    assert off(found, expected) < 0.03


@pytest.mark.slow
@torch.no_grad()
def test_a_step_compiles_into_one_graph_with_every_control() -> None:
    model, bank = small("local").eval(), SelfAttentionBank()
    latents, timesteps, hints = (
        torch.randn(2, 4, 4, 4),
        torch.tensor([5, 5]),
        model.encode_sketch(torch.randn(2, 3, 32, 32)),
    )
    context = model.project(tokens_for("local", 1))
    model.denoise(latents[:1], timesteps[:1], [hint[:1] for hint in hints], context, bank=bank.write())
    layers = model.unet.attention_layers
    controls: dict[str, Any] = {
        "attention": AttentionControls(0.6, (0.5,) * layers),
        "bank": bank.read(0.5, slice(1, 2)),
    }
    compiled = torch.compile(model.denoise, fullgraph=True)
    for options in ({}, controls):
        arguments = latents, timesteps, hints, context
        assert off(compiled(*arguments, **options), model.denoise(*arguments, **options)) < 1e-5


def count(kind: Tokens) -> int:
    with torch.device("meta"):
        base = V1Config(**(vars(V1_SIZES["base"]) | {"reference_tokens": kind}))
        return sum(parameter.numel() for parameter in V1(base).parameters())


def test_the_ablations_have_the_size_that_follows_from_the_proposed_one() -> None:
    proposed = 865_910_724 + 63_970_960  # UNet and sketch encoder, as published
    # a query's own norm is not needed either
    unused = sum(layers * width * (width + 1024 + 2) for layers, width in ((5, 320), (5, 640), (6, 1280)))
    spread = (1024 + 1) * 1024 + (1024 + 1) * 256 * 1024
    assert [count(kind) for kind in KINDS] == [proposed, proposed - unused, proposed + spread]
    assert unused == 25_194_880
    assert spread == 269_747_200
