"""Attention as modules, as functions and written out, and transformers."""

from __future__ import annotations

import math
from typing import Any

import torch

from .case import NEW, Case, Net, functional, nn, parameter


def layer(**kw: Any) -> Any:
    return nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, **kw)


def single(**kw: Any) -> Any:
    """A layer as a part of a network; alone, tracing takes its flags for tensors."""
    return nn.Sequential(layer(**kw))


def self_attention(**kw: Any) -> Any:
    return Net(
        lambda net, x: net.attention(x, x, x, **kw)[0],
        attention=nn.MultiheadAttention(8, 2, batch_first=True),
    )


def time_major() -> Any:
    return Net(
        lambda net, x: net.attention(x, x, x, need_weights=False)[0],
        attention=nn.MultiheadAttention(8, 2),
    )


def heads(net: Any, x: Any) -> Any:
    """Scaled dot products of two heads, by the function."""
    n, steps, size = x.shape
    q, k, v = (
        part.view(n, steps, 2, size // 2).transpose(1, 2) for part in net.project(x).split(size, 2)
    )
    y = functional.scaled_dot_product_attention(q, k, v, is_causal=net.causal)
    return net.out(y.transpose(1, 2).reshape(n, steps, size))


def scaled(causal: bool) -> Any:
    return Net(heads, project=nn.Linear(8, 24), out=nn.Linear(8, 8), causal=causal)


def written_out() -> Any:
    """Causal attention as in small language models: a mask that fills the scores."""

    def compute(net: Any, x: Any) -> Any:
        n, steps, size = x.size()
        q, k, v = net.project(x).split(size, dim=2)
        k = k.view(n, steps, 2, size // 2).transpose(1, 2)
        q = q.view(n, steps, 2, size // 2).transpose(1, 2)
        v = v.view(n, steps, 2, size // 2).transpose(1, 2)
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        scores = scores.masked_fill(net.mask[:, :, :steps, :steps] == 0, float("-inf"))
        y = functional.softmax(scores, dim=-1) @ v
        return x + net.out(y.transpose(1, 2).contiguous().view(n, steps, size))

    return Net(
        compute, project=nn.Linear(8, 24), out=nn.Linear(8, 8),
        mask=torch.tril(torch.ones(5, 5)).view(1, 1, 5, 5),
    )  # fmt: skip


def one_head() -> Any:
    def compute(net: Any, x: Any) -> Any:
        scores = torch.matmul(net.query(x), net.key(x).transpose(-2, -1)) / math.sqrt(8)
        return net.norm(x + torch.matmul(torch.softmax(scores, dim=-1), net.value(x)))

    return Net(
        compute, query=nn.Linear(8, 8), key=nn.Linear(8, 8), value=nn.Linear(8, 8),
        norm=nn.LayerNorm(8),
    )  # fmt: skip


def positions() -> Any:
    """A learned code of the position, an encoder layer, the mean over time, a linear layer."""

    def compute(net: Any, x: Any) -> Any:
        return net.out(net.layer(net.enter(x) + net.position).mean(dim=1))

    return Net(
        compute, enter=nn.Linear(4, 8), position=parameter(1, 6, 8), layer=layer(norm_first=True),
        out=nn.Linear(8, 3),
    )  # fmt: skip


def embedded_positions() -> Any:
    """The code of the position from an nn.Embedding of counted positions."""

    def compute(net: Any, x: Any) -> Any:
        places = torch.arange(x.size(1))
        return net.layer(x + net.table(places))

    return Net(compute, table=nn.Embedding(10, 8), layer=layer())


def masked_encoder() -> Any:
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    return Net(lambda net, x: net.layer(x, src_mask=net.mask), layer=layer(), mask=mask)


def vision() -> Any:
    """Patches by a convolution, a class token in front, one layer, a linear one on the token."""

    def compute(net: Any, x: Any) -> Any:
        x = net.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([net.token.expand(x.shape[0], -1, -1), x], dim=1) + net.position
        return net.out(net.norm(net.layer(x))[:, 0])

    return Net(
        compute, patch=nn.Conv2d(3, 8, 4, stride=4), token=parameter(1, 1, 8),
        position=parameter(1, 5, 8), layer=layer(norm_first=True, activation="gelu"),
        norm=nn.LayerNorm(8), out=nn.Linear(8, 3),
    )  # fmt: skip


def learned_queries() -> Any:
    """A sequence read by queries that are weights."""

    def compute(net: Any, x: Any) -> Any:
        queries = net.queries.unsqueeze(0).expand(x.size(0), -1, -1)
        return net.attention(queries, x, x)[0].flatten(1)

    return Net(
        compute, queries=parameter(2, 8), attention=nn.MultiheadAttention(8, 2, batch_first=True)
    )


def joined_projections() -> Any:
    """Heads by one reshape of the joined projections, taken apart on a leading axis."""

    def compute(net: Any, x: Any) -> Any:
        n, steps, size = x.shape
        q, k, v = net.project(x).reshape(n, steps, 3, 2, size // 2).permute(2, 0, 3, 1, 4)
        weights = ((q * (size // 2) ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1)
        return net.out((weights @ v).transpose(1, 2).reshape(n, steps, size))

    return Net(compute, project=nn.Linear(8, 24, bias=False), out=nn.Linear(8, 8))


CASES = [
    Case("mha_self", (5, 8), self_attention),
    Case("mha_no_weights", (5, 8), lambda: self_attention(need_weights=False), opsets=NEW),
    Case("mha_time_major", (5, 8), time_major, batch_axis=1, opsets=NEW),
    Case("encoder_layer", (5, 8), single, opsets=NEW),
    Case("encoder_layer_gelu", (5, 8), lambda: single(activation="gelu"), opsets=NEW),
    Case("encoder_layer_first", (5, 8), lambda: single(norm_first=True), opsets=NEW),
    Case("encoder_layer_masked", (5, 8), masked_encoder, opsets=NEW),
    Case("encoder", (5, 8), lambda: nn.TransformerEncoder(
        layer(), 2, enable_nested_tensor=False
    ), opsets=NEW),
    Case("encoder_first_gelu", (4, 8), lambda: nn.TransformerEncoder(
        layer(norm_first=True, activation="gelu"), 2, norm=nn.LayerNorm(8),
        enable_nested_tensor=False,
    ), opsets=NEW),
    Case("attention_scaled", (5, 8), lambda: scaled(False), opsets=NEW),
    Case("attention_causal", (5, 8), lambda: scaled(True), opsets=NEW),
    Case("attention_written_out", (5, 8), written_out),
    Case("attention_one_head", (5, 8), one_head),
    Case("attention_joined", (5, 8), joined_projections),
    Case("attention_learned_queries", (5, 8), learned_queries),
    Case("encoder_positions", (6, 4), positions, opsets=NEW),
    Case("encoder_embedded_positions", (6, 8), embedded_positions, opsets=NEW),
    Case("vision_transformer", (3, 8, 8), vision, opsets=NEW),
]  # fmt: skip
