import torch
from torch import nn

from selfsup.backbones import ResNet
from selfsup.planning import multiply_adds


def test_a_convolution_costs_its_kernel_times_its_output() -> None:
    conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    assert multiply_adds(conv, 10) == 5 * 5 * 8 * 3 * 3 * 3


def test_counting_leaves_the_network_as_it_was() -> None:
    model = ResNet(18, 0.125).train()
    model.layer1.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    multiply_adds(model, 32)
    assert model.layer2.training and not model.layer1.training and not model.layer1[0].bn1.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
