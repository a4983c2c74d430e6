"""Selective kernels and the shortcut of ResNet-D, from tf2/resnet.py of google-research/simclr, in float64 loops."""

from collections.abc import Mapping

import numpy as np

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def _convolve(maps: np.ndarray, weight: np.ndarray, *, stride: int = 1, padding: int = 0) -> np.ndarray:
    """Maps (B, I, H, W), weight (O, I, k, k)."""
    batch, _, height, width = maps.shape
    outputs, _, kernel, _ = weight.shape
    padded = np.pad(maps, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    rows, columns = (height + 2 * padding - kernel) // stride + 1, (width + 2 * padding - kernel) // stride + 1
    result = np.zeros((batch, outputs, rows, columns))
    for b in range(batch):
        for o in range(outputs):
            for row in range(rows):
                for column in range(columns):
                    y, x = row * stride, column * stride
                    result[b, o, row, column] = np.sum(padded[b, :, y : y + kernel, x : x + kernel] * weight[o])
    return result


def _batch_norm(maps: np.ndarray, parameters: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """With the batch's own statistics."""
    result = np.zeros_like(maps)
    for channel in range(maps.shape[1]):
        values = maps[:, channel]
        normalized = (values - values.mean()) / np.sqrt(values.var() + 1e-5)
        result[:, channel] = parameters[f"{name}.weight"][channel] * normalized + parameters[f"{name}.bias"][channel]
    return result


def _batch_norm_relu(maps: np.ndarray, parameters: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return np.maximum(_batch_norm(maps, parameters, name), 0)


def selective_kernel_by_the_code(maps: np.ndarray, parameters: Mapping[str, np.ndarray], stride: int) -> np.ndarray:
    """``SK_Conv2D`` in training mode; the parameters are called as in our layer."""
    both = _convolve(maps, parameters["conv.weight"], stride=stride, padding=1)
    both = _batch_norm_relu(both, parameters, "bn")
    filters = both.shape[1] // 2
    streams = [both[:, :filters], both[:, filters:]]
    pooled = (streams[0] + streams[1]).mean((2, 3))[:, :, None, None]
    hidden = _convolve(pooled, parameters["mix1.weight"])
    hidden = _batch_norm_relu(hidden, parameters, "mix_bn")
    mixing = _convolve(hidden, parameters["mix2.weight"])[:, :, 0, 0]
    result = np.zeros_like(streams[0])
    for b in range(len(maps)):
        for channel in range(filters):
            exponentials = np.exp([mixing[b, channel], mixing[b, filters + channel]])
            shares = exponentials / exponentials.sum()
            result[b, channel] = shares[0] * streams[0][b, channel] + shares[1] * streams[1][b, channel]
    return result


def shortcut_pool_by_the_code(maps: np.ndarray, stride: int) -> np.ndarray:
    """2x2 average: TensorFlow's SAME at stride 1, which counts only what is inside; else VALID after a row of zeros."""
    batch, channels, height, width = maps.shape
    if stride > 1:
        maps = np.pad(maps, ((0, 0), (0, 0), (0, 1), (0, 1)))
        rows, columns = (height - 1) // stride + 1, (width - 1) // stride + 1
    else:
        rows, columns = height, width
    result = np.zeros((batch, channels, rows, columns))
    for row in range(rows):
        for column in range(columns):
            y, x = row * stride, column * stride
            result[:, :, row, column] = maps[:, :, y : y + 2, x : x + 2].mean((2, 3))
    return result


def bottleneck_by_the_code(maps: np.ndarray, parameters: Mapping[str, np.ndarray], stride: int) -> np.ndarray:
    """``BottleneckBlock`` with ``use_projection`` in training mode; the parameters are called as in our block."""
    shortcut = _convolve(shortcut_pool_by_the_code(maps, stride), parameters["downsample.1.weight"])
    shortcut = _batch_norm(shortcut, parameters, "downsample.2")
    residual = _batch_norm_relu(_convolve(maps, parameters["conv1.weight"]), parameters, "bn1")
    inner = {name.removeprefix("conv2."): value for name, value in parameters.items() if name.startswith("conv2.")}
    residual = selective_kernel_by_the_code(residual, inner, stride)
    residual = _batch_norm(_convolve(residual, parameters["conv3.weight"]), parameters, "bn3")
    return np.maximum(residual + shortcut, 0)


def stem_by_the_code(images: np.ndarray, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
    """The three convolutions and batch norms before the pooling; the parameters are called as in our network."""
    maps = _convolve(images, parameters["conv1.0.weight"], stride=2, padding=1)
    maps = _batch_norm_relu(maps, parameters, "conv1.1")
    maps = _batch_norm_relu(_convolve(maps, parameters["conv1.3.weight"], padding=1), parameters, "conv1.4")
    return _batch_norm_relu(_convolve(maps, parameters["conv1.6.weight"], padding=1), parameters, "bn1")


def variables_by_the_code(depth: int, width: int) -> tuple[int, int]:
    """Trained numbers and moving statistics of the bottlenecks with ``sk_ratio=0.0625``, without the classifier."""
    trained, moving = 0, 0

    def conv(inputs: int, outputs: int, kernel: int) -> None:
        nonlocal trained
        trained += inputs * outputs * kernel * kernel

    def batch_norm(channels: int) -> None:
        nonlocal trained, moving
        trained += 2 * channels
        moving += 2 * channels

    stem = 64 * width
    for inputs, outputs in ((3, stem // 2), (stem // 2, stem // 2), (stem // 2, stem)):
        conv(inputs, outputs, 3)
        batch_norm(outputs)
    inputs = stem
    for group, blocks in enumerate(BLOCKS[depth]):
        filters = 64 * width * 2**group
        for block in range(blocks):
            if block == 0:  # use_projection
                conv(inputs, 4 * filters, 1)
                batch_norm(4 * filters)
            conv(inputs, filters, 1)
            batch_norm(filters)
            conv(filters, 2 * filters, 3)
            batch_norm(2 * filters)
            middle = max(int(filters * 0.0625), 32)
            conv(filters, middle, 1)
            batch_norm(middle)
            conv(middle, 2 * filters, 1)
            conv(filters, 4 * filters, 1)
            batch_norm(4 * filters)
            inputs = 4 * filters
    return trained, moving
