"""Attention layers by the formula: projected references, one class token, factors of layers, banks of another pass."""

from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention

from model.backbone.attention import (
    AttentionControls,
    ClassTokenAttention,
    CrossAttention,
    ProjectedContext,
    SelfAttention,
    SelfAttentionBank,
    Steering,
)

CHANNELS, HEADS, CONTEXT = 8, 2, 6


def source(context_width: int | None = None) -> Attention:
    """diffusers' layer, whose projections ours take over."""
    torch.manual_seed(3)
    return Attention(CHANNELS, context_width, heads=HEADS, dim_head=CHANNELS // HEADS).requires_grad_(False)


def steering(
    context: ProjectedContext | None = None, factor: float = 1.0, bank: SelfAttentionBank | None = None
) -> Steering:
    return Steering(context, AttentionControls(factor), None, bank)


def by_hand(layer: Any, x: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(d)) v, head by head, before the output projection."""
    q, k, v = layer.to_q(x), layer.to_k(tokens), layer.to_v(tokens)
    heads = []
    for head in range(HEADS):
        part = slice(head * CHANNELS // HEADS, (head + 1) * CHANNELS // HEADS)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / (CHANNELS / HEADS) ** 0.5
        heads.append(scores.softmax(-1) @ v[..., part])
    return torch.cat(heads, dim=-1)


def out_of(layer: Any, attended: torch.Tensor) -> torch.Tensor:
    return attended @ layer.to_out[0].weight.T + layer.to_out[0].bias


def test_cross_attention_is_the_formula_scaled_before_the_output_projection() -> None:
    layer = CrossAttention(source(CONTEXT), 0)
    x, context = torch.randn(2, 5, CHANNELS), torch.randn(2, 3, CONTEXT)
    found = layer(x, steering=steering(ProjectedContext((layer.project(context),)), 0.3))
    torch.testing.assert_close(found, out_of(layer, 0.3 * by_hand(layer, x, context)))


def test_rows_without_a_reference_get_what_zeros_give() -> None:
    layer = CrossAttention(source(CONTEXT), 0)
    x, context = torch.randn(5, 4, CHANNELS), torch.randn(2, 3, CONTEXT)
    padded = torch.cat([context, torch.zeros(3, 3, CONTEXT)])
    found, expected = (layer(x, steering=steering(ProjectedContext((layer.project(c),)))) for c in (context, padded))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        layer(x, steering=steering()), layer.get_parameter("to_out.0.bias").expand(5, 4, -1), rtol=0, atol=0
    )


def test_a_context_repeats_its_rows_one_block_after_another() -> None:
    layer, context = CrossAttention(source(CONTEXT), 0), torch.randn(2, 3, CONTEXT)
    repeated = ProjectedContext((layer.project(context),)).repeat(3)
    assert repeated.rows == 6
    for found, expected in zip(repeated.layers[0], layer.project(torch.cat([context] * 3)), strict=True):
        assert found is not None
        torch.testing.assert_close(found, expected)


def test_with_one_token_attention_is_a_linear_layer() -> None:
    attention, linear = CrossAttention(source(CONTEXT), 0), ClassTokenAttention(source(CONTEXT), 0)
    x, token = torch.randn(3, 5, CHANNELS), torch.randn(2, 1, CONTEXT)
    expected, found = (
        layer(x, steering=steering(ProjectedContext((layer.project(token),)), 0.7)) for layer in (attention, linear)
    )
    torch.testing.assert_close(found, expected)
    assert {name for name, _ in linear.named_parameters()} == {"to_v.weight", "to_out.0.weight", "to_out.0.bias"}
    assert ProjectedContext((linear.project(token),)).repeat(2).rows == 4


def test_a_factor_is_the_strength_times_the_layer_scale() -> None:
    assert AttentionControls(0.5, (1.0, 0.2, 3.0)).factor(1) == pytest.approx(0.1)
    assert AttentionControls(0.5).factor(7) == 0.5


def injected(layer: SelfAttention, own: torch.Tensor, stored: torch.Tensor) -> torch.Tensor:
    """The released code's formula: tokens of both passes are attended to alike."""
    return out_of(layer, by_hand(layer, own, torch.cat([own, stored], dim=1)))


def test_self_attention_reads_the_tokens_of_the_pass_that_wrote() -> None:
    layer, bank = SelfAttention(source(), 4), SelfAttentionBank()
    reference, x = torch.randn(2, 5, CHANNELS), torch.randn(4, 5, CHANNELS)
    written = layer(reference, steering=steering(bank=bank.write()))
    torch.testing.assert_close(written, out_of(layer, by_hand(layer, reference, reference)))

    found = layer(x, steering=steering(bank=bank.read()))
    torch.testing.assert_close(found, injected(layer, x, reference.repeat(2, 1, 1)))
    assert torch.equal(layer(x, steering=steering(bank=bank.read())), found), "a bank can be read more than once"


def test_fidelity_keeps_the_reference_out_of_plain_rows_only() -> None:
    layer, bank = SelfAttention(source(), 0), SelfAttentionBank()
    reference, x = torch.randn(1, 5, CHANNELS), torch.randn(4, 5, CHANNELS)
    layer(reference, steering=steering(bank=bank.write()))
    found = layer(x, steering=steering(bank=bank.read(0.3, slice(1, 3))))
    with_it = injected(layer, x, reference.repeat(4, 1, 1))
    without_it = out_of(layer, by_hand(layer, x, x))
    torch.testing.assert_close(found[1:3], 0.3 * without_it[1:3] + 0.7 * with_it[1:3])
    torch.testing.assert_close(found[[0, 3]], with_it[[0, 3]])


def test_writing_again_forgets_what_was_written() -> None:
    layer, bank = SelfAttention(source(), 0), SelfAttentionBank()
    first, second, x = torch.randn(3, 1, 5, CHANNELS)
    for reference in (first, second):
        layer(reference, steering=steering(bank=bank.write()))
    torch.testing.assert_close(layer(x, steering=steering(bank=bank.read())), injected(layer, x, second))


def test_a_bank_whose_rows_do_not_match_is_refused() -> None:
    layer, bank = SelfAttention(source(), 0), SelfAttentionBank()
    layer(torch.randn(2, 5, CHANNELS), steering=steering(bank=bank.write()))
    with pytest.raises(ValueError, match="2 rows cannot be read by a batch of 3"):
        layer(torch.randn(3, 5, CHANNELS), steering=steering(bank=bank.read()))
