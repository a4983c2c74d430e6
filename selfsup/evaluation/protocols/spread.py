"""How many directions features use and how far apart they are: collapse shows here, without labels."""

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from selfsup.evaluation.representation import Representation
from selfsup.evaluation.scores import Result, Score
from selfsup.evaluation.task import Task
from selfsup.registry import EVALUATORS


@EVALUATORS.register_module()
class Spread:
    """Spread of the features of the test images; a few hundred are enough.

    Scores, without intervals: ``rankme`` (effective rank, in directions), ``rankme_share`` (of the greatest possible
    one, min(N, D)), ``feature_std`` (of L2-normalized features) and ``feature_std_share`` (of an even sphere's
    1 / sqrt(D)).
    """

    protocol = "spread/1"
    needs: frozenset[str] = frozenset()

    def evaluate(self, representation: Representation, task: Task) -> Result:
        """Scores of the task's test images."""
        found = spread_of(representation.features(task.parts.test).features)
        return Result({name: Score(value) for name, value in found.items()})


def spread_of(features: Tensor) -> dict[str, float]:
    """The scores of :class:`Spread` for features (N, D)."""
    rank, std = rankme(features), feature_std(features)
    return {
        "rankme": rank,
        "rankme_share": rank / min(features.shape),
        "feature_std": std,
        "feature_std_share": std * math.sqrt(features.shape[1]),
    }


def rankme(features: Tensor, epsilon: float = 1e-7) -> float:
    """Effective rank of a feature matrix: how many directions the features really use.

    Args:
        features: (N, D), not centered; more than a few thousand rows change little.
        epsilon: added to each share, as in the paper.

    Returns:
        exp of the entropy of the normalized singular values: 1 for collapsed features, at most min(N, D).

    Source: Garrido et al. 2023, arXiv:2210.02885, equations 1 and 2.
    """
    values = torch.linalg.svdvals(features.double())
    shares = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny) + epsilon
    return math.exp(-(shares * shares.log()).sum().item())


def feature_std(features: Tensor) -> float:
    """Standard deviation of L2-normalized features, averaged over the dimensions.

    Args:
        features: (N, D).

    Returns:
        0 when all features point the same way, 1 / sqrt(D) when they are spread evenly over the sphere.

    Source: Chen and He 2021, arXiv:2011.10566, section 4.1 and figure 2.
    """
    return normalize(features.double(), dim=1).std(dim=0, correction=0).mean().item()
