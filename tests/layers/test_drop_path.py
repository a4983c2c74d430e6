import pytest
import torch
from torch import nn

from selfsup.backbones import BiTResNet, RegNet, ResNet, ViT
from selfsup.errors import ConfigError
from selfsup.layers import DropPath, set_drop_path

NETWORKS = {
    "regnet": lambda rate: RegNet(depths=(1, 2, 1, 1), widths=(8, 8, 16, 16), group_width=8, drop_path=rate),
    "resnet": lambda rate: ResNet(18, 0.125, stem="cifar", drop_path=rate),
    "bottlenecks": lambda rate: ResNet(50, 0.0625, stem="cifar", selective_kernels=True, drop_path=rate),
    "bit": lambda rate: BiTResNet(14, 0.125, stem="cifar", num_groups=4, drop_path=rate),
    "vit": lambda rate: ViT(embed_dim=8, depth=5, num_heads=2, image_size=32, patch_size=8, drop_path=rate),
}


def test_an_image_keeps_its_branch_enlarged_or_loses_it_and_the_mean_stays() -> None:
    drop = DropPath()
    drop.rate = 0.3
    torch.manual_seed(0)
    found = drop(torch.ones(20_000, 2, 2))
    assert found.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert (found == found[:, :1, :1]).all()
    assert found.mean().item() == pytest.approx(1, abs=4 * (0.3 / 0.7 / 20_000) ** 0.5)
    assert drop.eval()(found) is found


@pytest.mark.parametrize("name", NETWORKS)
def test_rates_rise_in_equal_steps_and_matter_in_training_alone(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name](0.4)
    blocks = [block for block in network.modules() if isinstance(getattr(block, "drop_path", None), DropPath)]
    rates = [block.drop_path.rate for block in blocks]
    assert rates == pytest.approx([0.4 * number / (len(rates) - 1) for number in range(len(rates))])
    plain = NETWORKS[name](0.0)
    plain.load_state_dict(network.state_dict())
    images = torch.rand(1, 3, 32, 32).repeat(16, 1, 1, 1)
    assert torch.equal(network.eval()(images), plain.eval()(images))
    for module in network.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # else equal images would differ by the others of the batch
    assert len(network(images).unique(dim=0)) > 3
    assert len(plain.eval()(images).unique(dim=0)) == 1


def test_a_rate_of_one_is_rejected() -> None:
    with pytest.raises(ConfigError):
        set_drop_path([DropPath()], 1.0)
