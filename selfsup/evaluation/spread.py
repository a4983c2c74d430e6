"""Is the representation collapsing? Told from features alone."""

from typing import Any

from torch import nn

from selfsup.data.preprocess import Preprocess
from selfsup.evaluation.base import evaluate_features
from selfsup.evaluation.features import Features, FeatureSource
from selfsup.evaluation.metrics import feature_std, rankme, spread
from selfsup.registry import EVALUATORS


@EVALUATORS.register_module()
class Spread:
    """How many directions the features use and how far apart they are; needs no labels.

    Scores: ``rankme`` (effective rank, in directions), ``rankme_share`` (of the greatest possible, min(N, D)),
    ``feature_std`` (of L2-normalized features) and ``feature_std_share`` (of the even sphere's 1 / sqrt(D)).

    Args:
        test: data set or its dict; a few hundred images are enough.
        size, resize, preprocess, batch_size, num_workers: as in :class:`FeatureSource`.
    """

    needs_labels = False

    def __init__(
        self,
        test: Any,
        *,
        size: int = 224,
        resize: int | None = None,
        preprocess: Preprocess | dict | None = None,
        batch_size: int = 64,
        num_workers: int = 2,
    ) -> None:
        self.sources: tuple[FeatureSource, ...] = (
            FeatureSource.build(
                test,
                size=size,
                resize=resize,
                preprocess=preprocess,
                batch_size=batch_size,
                num_workers=num_workers,
            ),
        )

    def evaluate(self, backbone: nn.Module) -> dict[str, float]:
        """Scores of a backbone."""
        return evaluate_features(self, backbone)

    def score(self, *features: Features) -> dict[str, float]:
        """Scores of the features of the one source."""
        (images,) = features
        rank = rankme(images.features)
        return {
            "rankme": rank,
            "rankme_share": rank / min(images.features.shape),
            "feature_std": feature_std(images.features),
            "feature_std_share": spread(images.features),
        }
