import torch
import torch.nn.functional as F

from selfsup.ops import cosine_similarity_matrix, l2_normalize, paired_cosines


def test_matrix_and_pairs_agree_with_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(5, 7, dtype=torch.float64, generator=generator) for _ in range(2))
    expected = F.cosine_similarity(a.unsqueeze(1), b.unsqueeze(0), dim=2)
    torch.testing.assert_close(cosine_similarity_matrix(a, b), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(paired_cosines(a, b), expected.diagonal(), rtol=0, atol=1e-12)


def test_autocast_does_not_round_cosines() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(6, 64, generator=generator) for _ in range(2))
    expected = cosine_similarity_matrix(a, b)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ b.T).dtype == torch.bfloat16
        actual = cosine_similarity_matrix(a, b)
    assert torch.equal(actual, expected)


def test_half_precision_rows_get_unit_length_in_float32() -> None:
    rows = torch.randn(4, 300, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16) * 100
    normalized = l2_normalize(rows)
    assert normalized.dtype == torch.float32
    torch.testing.assert_close(normalized.norm(dim=1), torch.ones(4), rtol=0, atol=1e-6)


def test_a_zero_row_stays_zero_and_has_a_finite_gradient() -> None:
    rows = torch.zeros(1, 3, requires_grad=True)
    l2_normalize(rows).sum().backward()
    assert torch.isfinite(rows.grad).all()
