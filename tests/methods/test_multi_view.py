import pytest
import torch

from selfsup.methods import forward_by_size
from tests.methods.tiny import TinyBackbone, images
from tests.reference import record


@pytest.mark.parametrize("counts, name", [((2, 4), "2x224+4x96"), ((2, 6), "2x224+6x96"), ((2, 0), "2x224")])
def test_the_backbone_runs_once_per_size(counts: tuple[int, int], name: str) -> None:
    expected = record("swav/term_count")["expected"][name]
    backbone = TinyBackbone()
    outputs = forward_by_size(backbone, images(*[12] * counts[0], *[8] * counts[1], batch=3))
    assert len(backbone.sizes) == expected["forwards"]
    assert sum(len(output) for output in outputs) == 3 * expected["rows_per_image"]
    assert backbone.sizes[0] == (3 * counts[0], 3, 12, 12)


def test_outputs_come_in_the_order_of_the_views() -> None:
    torch.manual_seed(0)
    backbone = TinyBackbone().eval()
    views = images(8, 12, 8, 12)
    for output, view in zip(forward_by_size(backbone, views), views, strict=True):
        torch.testing.assert_close(output, backbone(view))


def test_batch_norm_sees_all_views_of_a_size_together() -> None:
    torch.manual_seed(0)
    backbone = TinyBackbone()
    views = images(8, 8)
    together = forward_by_size(backbone, views)
    torch.testing.assert_close(torch.cat(together), backbone(torch.cat(views)))
    assert not torch.allclose(together[0], backbone(views[0]), atol=1e-3)
