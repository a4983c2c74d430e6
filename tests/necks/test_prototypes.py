import pytest
import torch

from selfsup.errors import ConfigError
from selfsup.necks import Prototypes


def test_normalizing_works_in_place_on_the_same_parameter() -> None:
    torch.manual_seed(0)
    prototypes = Prototypes(5, 7)
    weight, memory = prototypes.weight, prototypes.weight.data_ptr()
    direction = weight[0].detach() / weight[0].detach().norm()
    prototypes.normalize_()
    assert prototypes.weight is weight and weight.data_ptr() == memory and weight.requires_grad
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(7))
    torch.testing.assert_close(weight[0].detach(), direction)


def test_scores_of_unit_embeddings_are_cosines() -> None:
    torch.manual_seed(0)
    prototypes = Prototypes(5, 7)
    prototypes.normalize_()
    embeddings = torch.nn.functional.normalize(torch.randn(3, 5), dim=1)
    expected = torch.nn.functional.cosine_similarity(embeddings[:, None], prototypes.weight[None], dim=2)
    torch.testing.assert_close(prototypes(embeddings), expected)


@pytest.mark.parametrize("in_dim, count, message", [(0, 5, "in_dim"), (5, 0, "num_prototypes")])
def test_a_bad_size_is_named_with_its_place(in_dim: int, count: int, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"{message}: must be > 0, got 0"):
        Prototypes(in_dim, count)
