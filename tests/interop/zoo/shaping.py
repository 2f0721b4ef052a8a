"""Axes moved, taken apart and joined; reductions, products and functions of single values."""

from __future__ import annotations

from typing import Any

import torch

from .case import Case, Net, function, functional, nn, parameter


def views(x: Any) -> Any:
    n = x.size(0)
    y = x.view(n, 3, 2, 4).permute(0, 2, 1, 3).reshape(n, 6, 4)
    return y.unsqueeze(1).squeeze(1).flatten(1) * 2.0


def parts(x: Any) -> Any:
    a, b, c = x.chunk(3, dim=1)
    d, e = x.split([2, 4], dim=1)
    return torch.cat([torch.stack([a, b, c], dim=1).sum(1), d, e * 0.5], dim=1)


def steps(x: Any) -> Any:
    return torch.cat([x[:, ::2], x[:, 1:6:3], x[:, -2:]], dim=1)[..., 1:]


def order(x: Any) -> Any:
    y = torch.cat([x.flip(1), torch.roll(x, 2, dims=1)], dim=2)
    return y[:, [3, 0, 2]]


def einsums(net: Any, x: Any) -> Any:
    y = torch.einsum("bti,io->bto", x, net.a)
    return torch.einsum("bti,bsi->bts", y, x)


def products(net: Any, x: Any) -> Any:
    return torch.bmm(torch.matmul(x, net.right), torch.matmul(net.left, x))


def reductions(x: Any) -> Any:
    a = x.mean(dim=(1, 2)) + x.sum(dim=2).sum(dim=1)
    b = x.amax(dim=2, keepdim=True).mean(1).squeeze(1)
    c = torch.max(x, dim=1).values - x.amin(dim=1)
    return torch.cat([a.unsqueeze(1), b.unsqueeze(1), c], dim=1)


def deviations(x: Any) -> Any:
    mean = x.mean(dim=1, keepdim=True)
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean(dim=1, keepdim=True) + 1e-5)


def softmaxes(x: Any) -> Any:
    return x.softmax(dim=1) + x.softmax(dim=2) - functional.log_softmax(x, 1) * 0.1


def where(net: Any, x: Any) -> Any:
    return torch.where(net.mask, x, torch.zeros_like(x)) + torch.where(net.mask, net.other, x)


def copies(x: Any) -> Any:
    row = x[:, :1].expand(-1, 4, -1)
    return torch.cat([row, x.repeat(1, 1, 1), x.repeat_interleave(2, dim=1)], dim=1)


def elementary(x: Any) -> Any:
    y = x.abs().clamp(0.25, 4.0)
    return torch.cat([y.sqrt(), y.log(), y.pow(2), torch.exp(-y), 1.0 / y, -x, y**-0.5], dim=1)


def extremes(net: Any, x: Any) -> Any:
    a, b = net.a(x), net.b(x)
    return torch.maximum(a, b) - torch.minimum(a, net.floor)


def trigonometry(x: Any) -> Any:
    return torch.sin(x) * torch.cos(0.5 * x) + torch.erf(x)


CASES = [
    Case("views", (6, 4), function(views)),
    Case("parts", (6, 4), function(parts)),
    Case("steps", (8, 5), function(steps)),
    Case("order", (6, 4), function(order)),
    Case("einsums", (5, 4), lambda: Net(einsums, a=parameter(4, 4))),
    Case("products", (5, 4), lambda: Net(products, right=parameter(4, 3), left=parameter(3, 5))),
    Case("reductions", (4, 6), function(reductions)),
    Case("reduce_space", (3, 4, 5), function(lambda x: x.mean(dim=(2, 3)) - x.amax(dim=(2, 3)))),
    Case("reduce_channels", (3, 4, 5), function(
        lambda x: torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], dim=1)
    )),
    Case("deviations", (6, 4), function(deviations)),
    Case("variance", (6, 4), function(lambda x: torch.cat([x.var(dim=2), x.std(dim=2)], dim=1))),
    Case("unit_length", (6, 4), function(lambda x: functional.normalize(x, dim=2))),
    Case("log_sum_exp", (6, 4), function(lambda x: torch.logsumexp(x, dim=2))),
    Case("softmaxes", (6, 4), function(softmaxes)),
    Case("where_constant", (6, 4), lambda: Net(
        where, mask=torch.tril(torch.ones(6, 4)) > 0, other=torch.randn(6, 4)
    )),
    Case("copies", (3, 4), function(copies)),
    Case("elementary", (3, 4), function(elementary)),
    Case("extremes", (6,), lambda: Net(
        extremes, a=nn.Linear(6, 4), b=nn.Linear(6, 4), floor=torch.randn(4)
    )),
    Case("trigonometry", (6,), function(trigonometry)),
    Case("pads", (3, 5), function(
        lambda x: functional.pad(functional.pad(x, (1, 2), value=0.5), (2, 1), mode="reflect")
    )),
    Case("two_operands", (6, 4), function(
        lambda x: x[:, :3] * x[:, 3:] - x[:, :3] / (x[:, 3:].abs() + 1)
    )),
    Case("broadcasts", (3, 4, 5), function(
        lambda x: x - x.mean(3, keepdim=True) + x[:, :, :1] * 0.5
    )),
    Case("similarity", (2, 8), function(
        lambda x: functional.cosine_similarity(x[:, 0], x[:, 1], dim=1)
    )),
    Case("scalar", (7,), function(lambda x: x.sum(dim=1))),
    Case("mixer", (6, 4), lambda: Net(
        lambda net, x: x + net.b(functional.gelu(net.a(x.transpose(1, 2)))).transpose(1, 2),
        a=nn.Linear(6, 8), b=nn.Linear(8, 6),
    )),
]  # fmt: skip
