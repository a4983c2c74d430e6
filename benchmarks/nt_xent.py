"""Memory and time of the contrastive loss, forward and backward, beside one that holds all similarities.

    python -m benchmarks.nt_xent [--images 16384] [--dim 128]

Each side runs in a process of its own; shown are the peak beyond the inputs, the time, and the largest difference of
the gradients, relative to the largest entry.
"""

import argparse
import multiprocessing
import resource
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsup.losses import NTXentLoss

TEMPERATURE = 0.1


def whole(z_a: Tensor, z_b: Tensor) -> Tensor:
    """The loss as it is usually written."""
    z = F.normalize(torch.cat([z_a, z_b]), dim=1)
    logits = (z @ z.T / TEMPERATURE).fill_diagonal_(float("-inf"))
    positive = torch.arange(len(z)).roll(len(z_a))
    return F.cross_entropy(logits, positive)


def measure(side: str, images: int, dim: int, queue: Any) -> None:
    """Seconds, peak bytes beyond the inputs, loss and gradients of one side."""
    torch.manual_seed(0)
    z = torch.randn(2, images, dim, requires_grad=True)
    loss_of = whole if side == "whole" else NTXentLoss(TEMPERATURE)
    loss_of(z[0, :64], z[1, :64]).backward()
    z.grad = None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    loss = loss_of(z[0], z[1])
    loss.backward()
    seconds = time.perf_counter() - started
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert z.grad is not None
    queue.put((seconds, peak, loss.item(), z.grad.numpy()))


def main() -> None:
    """Both sides, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16_384)
    parser.add_argument("--dim", type=int, default=128)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    found = {}
    for side in ("whole", "blocks"):
        queue = context.Queue()
        process = context.Process(target=measure, args=(side, options.images, options.dim, queue))
        process.start()
        found[side] = queue.get()
        process.join()
        seconds, peak, loss, _ = found[side]
        print(f"{side:7} {seconds:7.2f} s  {peak / 1e9:6.2f} GB beyond the inputs  loss {loss:.6f}")
    one, other = found["whole"][3], found["blocks"][3]
    print(f"time {found['blocks'][0] / found['whole'][0]:.2f} of the other's")
    print(f"gradients differ by {abs(one - other).max() / abs(one).max():.1e}")


if __name__ == "__main__":
    main()
