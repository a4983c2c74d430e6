"""The loss of a student that learns what its teacher says."""

from torch import Tensor, nn

from selfsup.errors import require
from selfsup.losses.cross_entropy import CrossEntropyLoss
from selfsup.ops.precision import at_least_float32
from selfsup.registry import LOSSES


@LOSSES.register_module()
class DistillationLoss(nn.Module):
    """Cross entropy between the class probabilities of a teacher and a student, both softened by a temperature.

    Computed in float32 or better; no gradient reaches the teacher.

    Args:
        temperature: both networks' scores are divided by it, > 0; 1 leaves the probabilities as they are.
        official_factor: whether to multiply by the squared temperature, as the reference code does and the paper does
            not, which keeps gradients alike over temperatures.

    Raises:
        ValueError: if ``temperature`` is not positive.

    Source: Chen et al. 2020, arXiv:2006.10029, equation 2; the factor as in google-research/simclr
        tf2/colabs/distillation_self_training.ipynb, after Hinton et al. 2015, arXiv:1503.02531, section 2.
    """

    def __init__(self, temperature: float = 1.0, *, official_factor: bool = False) -> None:
        super().__init__()
        require(temperature > 0, "temperature", "must be > 0", got=temperature)
        self.temperature = temperature
        self.official_factor = official_factor
        self._cross_entropy = CrossEntropyLoss()

    def forward(self, student_scores: Tensor, teacher_scores: Tensor) -> Tensor:
        """The mean over the batch.

        Args:
            student_scores: before the softmax, shape (B, C).
            teacher_scores: before the softmax, shape (B, C).

        Returns:
            The loss, 0-dim; at least the mean entropy of the teacher's softened probabilities.
        """
        targets = (at_least_float32(teacher_scores.detach()) / self.temperature).softmax(dim=1)
        loss = self._cross_entropy(at_least_float32(student_scores) / self.temperature, targets)
        return self.temperature**2 * loss if self.official_factor else loss
