"""Networks of convolutions and pooling."""

from __future__ import annotations

from typing import Any

import torch

from .case import NEW, Case, Net, functional, nn


def unit(a: int, b: int, kernel: Any = 3, **kw: Any) -> Any:
    """Convolution, batch norm and ReLU, as networks of images repeat them."""
    kw.setdefault("padding", "same" if isinstance(kernel, tuple) else kernel // 2)
    return nn.Sequential(nn.Conv2d(a, b, kernel, bias=False, **kw), nn.BatchNorm2d(b), nn.ReLU())


def lenet() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(24, 12), nn.ReLU(), nn.Linear(12, 5),
    )  # fmt: skip


def resnet() -> Any:
    def compute(net: Any, x: Any) -> Any:
        x = net.stem(x)
        x = functional.relu(net.second(net.first(x)) + x)
        x = functional.relu(net.fourth(net.third(x)) + net.short(x))
        return net.head(torch.flatten(functional.adaptive_avg_pool2d(x, (1, 1)), 1))

    return Net(
        compute, stem=unit(3, 6), first=unit(6, 6), second=nn.Conv2d(6, 6, 3, padding=1),
        third=unit(6, 8, stride=2), fourth=nn.Conv2d(8, 8, 3, padding=1),
        short=nn.Conv2d(6, 8, 1, stride=2), head=nn.Linear(8, 4),
    )  # fmt: skip


def mobilenet() -> Any:
    return nn.Sequential(
        unit(3, 8, stride=2), unit(8, 8, groups=8), unit(8, 12, 1),
        unit(12, 12, groups=12, stride=2), unit(12, 16, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(16, 4),
    )  # fmt: skip


def inverted_residual() -> Any:
    """As MobileNet v2 and v3 have it, with squeeze and excitation inside."""

    def compute(net: Any, x: Any) -> Any:
        y = net.wide(x)
        gate = net.grow(functional.relu(net.shrink(y.mean((2, 3), keepdim=True))))
        return x + net.narrow(y * functional.hardsigmoid(gate))

    return Net(
        compute, shrink=nn.Conv2d(12, 4, 1), grow=nn.Conv2d(4, 12, 1),
        wide=nn.Sequential(
            nn.Conv2d(4, 12, 1, bias=False), nn.BatchNorm2d(12), nn.Hardswish(),
            nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.BatchNorm2d(12), nn.ReLU6(),
        ),
        narrow=nn.Sequential(nn.Conv2d(12, 4, 1, bias=False), nn.BatchNorm2d(4)),
    )  # fmt: skip


def squeeze_excite() -> Any:
    def compute(net: Any, x: Any) -> Any:
        n, channels, _, _ = x.shape
        gate = net.pool(x).view(n, channels)
        gate = torch.sigmoid(net.b(torch.relu(net.a(gate)))).view(n, channels, 1, 1)
        return net.out(x * gate.expand_as(x))

    return Net(
        compute, pool=nn.AdaptiveAvgPool2d(1), a=nn.Linear(6, 3), b=nn.Linear(3, 6),
        out=nn.Conv2d(6, 3, 3),
    )  # fmt: skip


def shuffle_unit() -> Any:
    """ShuffleNet's: halves of the channels, and a shuffle of them."""

    def compute(net: Any, x: Any) -> Any:
        a, b = x.chunk(2, dim=1)
        x = torch.cat([a, net.branch(b)], dim=1)
        n, c, h, w = x.size()
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)

    return Net(compute, branch=nn.Sequential(unit(4, 4, 1), unit(4, 4, groups=4), unit(4, 4, 1)))


def dense_block() -> Any:
    def compute(net: Any, x: Any) -> Any:
        for layer in net.layers:
            x = torch.cat([x, layer(functional.relu(x))], 1)
        return net.transition(x)

    return Net(
        compute, layers=nn.ModuleList([nn.Conv2d(3 + 4 * i, 4, 3, padding=1) for i in range(3)]),
        transition=nn.Sequential(nn.BatchNorm2d(15), nn.ReLU(), nn.Conv2d(15, 6, 1),
                                 nn.AvgPool2d(2)),
    )  # fmt: skip


def inception() -> Any:
    def compute(net: Any, x: Any) -> Any:
        return torch.cat([net.a(x), net.b(x), net.c(functional.max_pool2d(x, 3, 1, 1))], dim=1)

    return Net(
        compute, a=unit(4, 3, 1),
        b=nn.Sequential(unit(4, 3, (1, 3)), unit(3, 5, (3, 1))),
        c=nn.Conv2d(4, 2, 1),
    )  # fmt: skip


def unet(mode: str) -> Any:
    def compute(net: Any, x: Any) -> Any:
        a = net.down(x)
        b = net.deep(functional.max_pool2d(a, 2))
        corners = None if mode == "nearest" else False
        up = functional.interpolate(b, scale_factor=2, mode=mode, align_corners=corners)
        return torch.sigmoid(net.out(net.join(torch.cat([up, a], dim=1))))

    return Net(compute, down=unit(2, 4), deep=unit(4, 8), join=unit(12, 4), out=nn.Conv2d(4, 1, 1))


def unet_transposed() -> Any:
    def compute(net: Any, x: Any) -> Any:
        a = net.down(x)
        up = net.up(net.deep(functional.max_pool2d(a, 2)))
        return net.out(torch.cat([a, up], dim=1))

    return Net(
        compute, down=unit(1, 4), deep=unit(4, 6), up=nn.ConvTranspose2d(6, 4, 2, stride=2),
        out=nn.Conv2d(8, 2, 1),
    )  # fmt: skip


def autoencoder() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.LeakyReLU(0.1),
        nn.Flatten(), nn.Linear(24, 5), nn.Linear(5, 24), nn.ReLU(), nn.Unflatten(1, (6, 2, 2)),
        nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),
        nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1), nn.Sigmoid(),
    )  # fmt: skip


def temporal() -> Any:
    """Dilated convolutions that see the past alone, with residuals."""

    def compute(net: Any, x: Any) -> Any:
        x = net.enter(x)
        for layer, dilation in zip(net.layers, (1, 2, 4), strict=True):
            x = x + functional.relu(layer(functional.pad(x, (2 * dilation, 0))))
        return net.out(x[:, :, -1])

    return Net(
        compute, enter=nn.Conv1d(3, 6, 1), out=nn.Linear(6, 2),
        layers=nn.ModuleList([nn.Conv1d(6, 6, 3, dilation=d) for d in (1, 2, 4)]),
    )  # fmt: skip


def series() -> Any:
    return nn.Sequential(
        nn.Conv1d(3, 8, 5, stride=2, padding=2), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(8, 8, 3, padding="same", groups=4), nn.ELU(), nn.AvgPool1d(3, 2, padding=1),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def camera() -> Any:
    """Pixels from 0 to 255, brought to the mean and the deviation that the network was taught."""

    def compute(net: Any, x: Any) -> Any:
        return net.net((x / 255.0 - net.mean) / net.std)

    return Net(
        compute, mean=torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1),
        std=torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1),
        net=nn.Sequential(unit(3, 4), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)),
    )  # fmt: skip


def convnext() -> Any:
    """A depthwise convolution, a layer norm over channels last, and a scaled perceptron."""

    def compute(net: Any, x: Any) -> Any:
        y = net.norm(net.depthwise(x).permute(0, 2, 3, 1))
        y = net.scale * net.b(functional.gelu(net.a(y)))
        return x + y.permute(0, 3, 1, 2)

    return Net(
        compute, depthwise=nn.Conv2d(4, 4, 5, padding=2, groups=4), norm=nn.LayerNorm(4),
        a=nn.Linear(4, 12), b=nn.Linear(12, 4), scale=nn.Parameter(torch.rand(4)),
    )  # fmt: skip


def pools(*layers: Any) -> Any:
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), *layers)


CASES = [
    Case("lenet", (1, 12, 12), lenet),
    Case("resnet", (3, 8, 8), resnet),
    Case("mobilenet", (3, 12, 12), mobilenet),
    Case("inverted_residual", (4, 6, 6), inverted_residual),
    Case("squeeze_excite", (6, 5, 5), squeeze_excite),
    Case("shuffle_unit", (8, 5, 5), shuffle_unit),
    Case("dense_block", (3, 6, 6), dense_block),
    Case("inception", (4, 6, 6), inception),
    Case("convnext", (4, 6, 6), convnext),
    Case("unet_nearest", (2, 8, 8), lambda: unet("nearest")),
    Case("unet_bilinear", (2, 8, 8), lambda: unet("bilinear")),
    Case("unet_transposed", (1, 8, 8), unet_transposed),
    Case("autoencoder", (1, 8, 8), autoencoder, opsets=NEW),
    Case("temporal", (3, 16), temporal),
    Case("series", (3, 32), series),
    Case("camera", (3, 8, 8), camera, pixels=True),
    Case(
        "conv_same_dilated",
        (2, 9, 9),
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 4, padding="same"), nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding="same", dilation=2), nn.ReLU(),
            nn.Conv2d(4, 3, (3, 2), dilation=(1, 3)),
        ),
    ),
    Case(
        "conv_groups_strides",
        (4, 9, 8),
        lambda: nn.Sequential(
            nn.Conv2d(4, 8, 3, stride=(2, 1), padding=(1, 0), groups=2), nn.SiLU(),
            nn.Conv2d(8, 16, 3, groups=8), nn.ReLU(),
        ),
    ),
    Case(
        "conv_global_average",
        (2, 7, 6),
        lambda: nn.Sequential(nn.Conv2d(2, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(1)),
    ),
    Case(
        "conv_padding_modes",
        (2, 6, 6),
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), nn.ReLU(),
            nn.Conv2d(3, 3, 3, padding=1, padding_mode="replicate"),
            nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular"),
        ),
    ),
    Case("conv_pad", (2, 5, 5), lambda: nn.Sequential(
        nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(2, 3, 2), nn.ConstantPad2d(1, 0.5), nn.MaxPool2d(2),
    )),
    Case("max_pool_ceil", (2, 8, 9), lambda: pools(nn.MaxPool2d(3, 2, ceil_mode=True))),
    Case("max_pool_pads", (2, 8, 8), lambda: pools(nn.MaxPool2d(3, 2, padding=1, dilation=1))),
    Case("max_pool_dilated", (2, 9, 9), lambda: pools(nn.MaxPool2d(3, 1, dilation=2))),
    Case("average_pool_pads", (2, 8, 8), lambda: pools(nn.AvgPool2d(3, 2, padding=1))),
    Case(
        "average_pool_inside",
        (2, 7, 7),
        lambda: pools(nn.AvgPool2d(3, 2, padding=1, count_include_pad=False)),
    ),
    Case("average_pool_ceil", (2, 8, 8), lambda: pools(nn.AvgPool2d(3, 2, ceil_mode=True))),
    Case("adaptive_pools", (2, 8, 6), lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.AdaptiveAvgPool2d((4, 3)), nn.Conv2d(4, 4, 1),
        nn.AdaptiveMaxPool2d((2, 1)), nn.Flatten(), nn.Linear(8, 3),
    )),
    Case("power_pool", (2, 8), lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.LPPool1d(2, 2))),
    Case("group_norm", (4, 5, 5), lambda: nn.Sequential(
        nn.Conv2d(4, 6, 3), nn.GroupNorm(3, 6), nn.ReLU(), nn.Conv2d(6, 2, 1),
    )),
    Case("instance_norm", (3, 6, 6), lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.ReLU(), nn.Conv2d(4, 2, 1),
    )),
    Case("conv_transpose_options", (4, 4, 5), lambda: nn.Sequential(
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False), nn.ReLU(),
        nn.ConvTranspose2d(6, 2, (2, 3), dilation=2),
    )),
    Case("conv_transpose_1d", (3, 6), lambda: nn.Sequential(
        nn.ConvTranspose1d(3, 4, 4, stride=2, padding=1), nn.ReLU(), nn.Conv1d(4, 1, 3, padding=1),
    )),
    Case("pixel_shuffle", (2, 4, 5), lambda: nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(2, 2, 1), nn.PixelUnshuffle(2),
    )),
    Case("upsample_corners", (2, 4, 5), lambda: nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), nn.Conv2d(2, 3, 3),
    )),
    Case("upsample_bicubic", (2, 4, 5), lambda: nn.Sequential(
        nn.Conv2d(2, 2, 1), nn.Upsample(size=(8, 10), mode="bicubic"),
    )),
]  # fmt: skip
