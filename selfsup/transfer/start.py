"""What a transfer begins with: weights, the network they belong to, and how that is shown images."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfsup.data.input_contract import InputContract
from selfsup.errors import CheckpointError, ConfigError
from selfsup.evaluation.opening import TIMM, kept_timm
from selfsup.weights.card import OWN, card_path, read_card
from selfsup.weights.checkpoint import checkpoint_file
from selfsup.weights.load import exported_file
from selfsup.weights.settings import without_fetching


@dataclass(frozen=True)
class Start:
    """Pretrained weights, or none of the same network.

    Args:
        spec: what they were named by.
        backbone: the dict of their network.
        input_contract: how it is shown images.
        file: of the weights; None trains from scratch.
        license: of the weights.
    """

    spec: str
    backbone: dict[str, Any]
    input_contract: InputContract
    file: Path | None = None
    license: str = OWN

    @classmethod
    def open(cls, spec: str | Path) -> "Start":
        """Weights by what people call them.

        Args:
            spec: the work dir of a finished run, a file of weights with its card, or ``timm:NAME``.

        Raises:
            CheckpointError: if there are none, or they have no card.
        """
        text = str(spec)
        if text.startswith(TIMM):
            file, found = kept_timm(text.removeprefix(TIMM))
            card = read_card(file) or {}
            return cls(text, card["backbone"], found.input_contract, file, card["license"])
        file = exported_file(Path(text).expanduser())
        if (known := read_card(file)) is None:
            raise CheckpointError.at(
                str(file), "no card says which network has these weights", expected="selfsup convert makes one"
            )
        contract = InputContract.of_card(known, str(card_path(file)))
        return cls(text, without_fetching(known["backbone"]), contract, file, known.get("license", OWN))

    def from_scratch(self) -> "Start":
        """The same network with random weights: the control at the same labels."""
        return dataclasses.replace(self, spec=f"{self.spec}, from scratch", file=None, license=OWN)

    def with_head(self) -> "Start":
        """From the whole pretraining checkpoint, which has the layers of its head too.

        Raises:
            CheckpointError: if there is none.
        """
        return dataclasses.replace(self, file=checkpoint_file(self.spec))

    @property
    def normalization(self) -> dict[str, tuple[float, ...]]:
        """Mean and standard deviation for pixels in [0, 1].

        Raises:
            ConfigError: if they are not known, or the channels are in another order than RGB.
        """
        contract = self.input_contract
        if contract.mean is None or contract.std is None or contract.value_range is None:
            raise ConfigError.at(f"{self.spec}: preprocess", "mean, std and value_range must be known")
        if contract.channel_order == "bgr":
            raise ConfigError.at(f"{self.spec}: preprocess.channel_order", "must be 'rgb' to be trained on", got="bgr")
        low, high = contract.value_range
        scale = high - low
        return {
            "mean": tuple((mean - low) / scale for mean in contract.mean),
            "std": tuple(std / scale for std in contract.std),
        }
