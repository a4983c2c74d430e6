"""What an evaluator is."""

from typing import Protocol, runtime_checkable

from torch import nn

from selfsup.evaluation.features import Features, FeatureSource


@runtime_checkable
class Evaluator(Protocol):
    """Evaluates a frozen backbone; owns its images and never knows how the backbone was trained."""

    def evaluate(self, backbone: nn.Module) -> dict[str, float]:
        """Named scores of a backbone that maps normalized images (B, 3, H, W) to features (B, D)."""
        ...


@runtime_checkable
class FeatureEvaluator(Evaluator, Protocol):
    """An evaluator that only looks at features: several of them can share one pass over the images.

    Attributes:
        sources: the images it wants the features of, in the order ``score`` takes them.
        needs_labels: whether every source must have labels.
    """

    sources: tuple[FeatureSource, ...]
    needs_labels: bool

    def score(self, *features: Features) -> dict[str, float]:
        """Named scores, from the features of each source."""
        ...


def evaluate_features(evaluator: FeatureEvaluator, backbone: nn.Module) -> dict[str, float]:
    """The ``evaluate`` of every feature evaluator: extract each source once, then score."""
    found = {source: source.extract(backbone) for source in dict.fromkeys(evaluator.sources)}
    return evaluator.score(*(found[source] for source in evaluator.sources))
