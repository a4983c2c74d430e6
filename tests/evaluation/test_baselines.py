import torch

from selfsup.evaluation.baselines import ImageStatistics


def test_statistics_tell_colors_edges_and_their_directions() -> None:
    statistics = ImageStatistics(grid=2)
    across, down = torch.zeros(3, 16, 16), torch.zeros(3, 16, 16)
    across[:, :, ::4] = across[:, :, 1::4] = 1.0  # stripes that change from left to right
    down[:, ::4, :] = down[:, 1::4, :] = 1.0
    found = statistics(torch.stack([across, down, torch.full((3, 16, 16), 0.5)]))
    assert found.shape == (3, statistics.out_dim)
    mean, deviation, edges, histogram = found.split([12, 12, 32, 24], dim=1)
    torch.testing.assert_close(mean, torch.full((3, 12), 0.5))
    torch.testing.assert_close(deviation, torch.tensor([0.5, 0.5, 0.0])[:, None].expand(3, 12))
    torch.testing.assert_close(edges[0].view(8, 4).sum(1)[0], torch.tensor(4.0))
    torch.testing.assert_close(edges[1].view(8, 4).sum(1)[4], torch.tensor(4.0))
    assert not edges[2].any()
    torch.testing.assert_close(histogram.view(3, 3, 8).sum(2), torch.ones(3, 3))
