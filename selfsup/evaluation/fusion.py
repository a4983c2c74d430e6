"""Several networks' features side by side."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from selfsup.errors import ConfigError, DataError
from selfsup.evaluation.extraction.features import Features
from selfsup.evaluation.extraction.fingerprint import fingerprint
from selfsup.evaluation.representation import Representation


class Fusion(Representation):
    """Features of two or more representations side by side; each sees images by its own input contract.

    Args:
        representations: what is joined, in this order.
        scaling: what is done to the features of each before: ``'none'``, as in the paper; ``'normalize'`` divides the
            features of each image by their length, so that no network outweighs the others by the scale of its numbers;
            ``'standardize'`` gives each feature mean 0 and standard deviation 1 over the images of ``reference``.
        reference: a source of images for ``'standardize'``, such as the training images: never those of the test.
        name: what tables call it; None for ``A+B``.

    Raises:
        ConfigError: if there are fewer than two, the scaling is unknown, or it needs a reference.

    Source: Cole et al. 2022, arXiv:2105.05837, section 4.2: penultimate features of frozen networks, concatenated.
    """

    def __init__(
        self,
        *representations: Representation,
        scaling: Literal["none", "normalize", "standardize"] = "none",
        reference: Any = None,
        name: str | None = None,
    ) -> None:
        if len(representations) < 2:
            raise ConfigError.at("representations", "must be two or more", got=len(representations))
        if scaling not in ("none", "normalize", "standardize"):
            raise ConfigError.at("scaling", "must be 'none', 'normalize' or 'standardize'", got=scaling)
        if (scaling == "standardize") != (reference is not None):
            raise ConfigError.at("reference", "must be given with scaling='standardize', and only then")
        first = representations[0]
        super().__init__(
            first.backbone,
            first.input_contract,
            name=name or "+".join(each.name for each in representations),
            batch_size=first.batch_size,
            num_workers=first.num_workers,
            log=first.log,
        )
        self.representations: Sequence[Representation] = representations
        self.scaling = scaling
        self.reference = reference
        self.flips = any(each.flips for each in representations)
        self.layer = "+".join(each.layer for each in representations)

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """A digest of those of all, and of the scaling."""
        about = [self.scaling, *(each.fingerprint for each in self.representations)]
        if self.reference is not None:
            about.append(fingerprint(self.reference))
        return hashlib.blake2b(" ".join(about).encode(), digest_size=16).hexdigest()

    @property
    def precision(self) -> Any:
        """That of all, joined where they differ."""
        return "+".join(dict.fromkeys(getattr(each, "precision", "fp32") for each in self.representations))

    def settle(self, source: Any) -> Any:
        """Decide about the precision of each, see :class:`~selfsup.evaluation.Representation`."""
        parts: Sequence[Any] = self.representations
        for each in parts:
            each.settle(source)
        return self.precision

    def features(self, source: Any, *, flips: bool | None = None) -> Features:
        """The features of every image, if each representation can decode the same; each keeps its own as it does."""
        found = self.remember(("features", id(source), flips), source, lambda: self.extract(source, flips=flips))
        found.check(self.name)
        return found

    def extract(self, source: Any, *, flips: bool | None = None) -> Features:
        """:meth:`features`, joined anew."""
        return self.join([each.features(source, flips=flips) for each in self.representations])

    def join(self, parts: Sequence[Features]) -> Features:
        """Features that each of the representations gave for the same source, side by side.

        Raises:
            DataError: if they are not of the same images.
        """
        first = parts[0]
        for part in parts[1:]:
            if not torch.equal(part.index, first.index):
                raise DataError.at(self.name, "the representations could not decode the same images")
        scaled = [self._scaled(number, part.features) for number, part in enumerate(parts)]
        return dataclasses.replace(first, features=torch.cat(scaled, dim=1))

    def __call__(self, images: Tensor) -> Tensor:
        """Not for a fusion, whose networks see images in different ways."""
        raise TypeError(f"{self.name}: ask for features(source)")

    def _scaled(self, number: int, features: Tensor) -> Tensor:
        if self.scaling == "normalize":
            return torch.nn.functional.normalize(features, dim=1)
        if self.scaling == "standardize":
            mean, scale = self.remember(("scale", number), self.reference, lambda: self._scale(number))
            return (features - mean) / scale
        return features

    def _scale(self, number: int) -> tuple[Tensor, Tensor]:
        found = self.representations[number].features(self.reference).features
        scale, mean = torch.std_mean(found.double(), dim=0, correction=0)
        return mean.float(), torch.where(scale > 1e-9 * mean.abs().clamp_min(1e-12), scale, 1.0).float()
