import torch
from torch import nn

from selfsup.layers import SyncBatchNorm, convert_sync_bn


def _net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=1e-3, momentum=0.3), nn.Sequential(nn.BatchNorm2d(4))
    )


def test_in_one_process_it_is_batch_norm() -> None:
    torch.manual_seed(0)
    plain, synced = _net(), _net()
    synced.load_state_dict(plain.state_dict())
    synced = convert_sync_bn(synced)
    images = torch.randn(2, 3, 6, 6)
    for mode in (True, False):
        plain.train(mode)
        synced.train(mode)
        assert torch.equal(plain(images), synced(images))
    for name, value in plain.state_dict().items():
        assert torch.equal(value, synced.state_dict()[name]), name


def test_conversion_keeps_parameters_buffers_names_and_settings() -> None:
    net = _net().eval()
    norm = net[1]
    names = list(net.state_dict())
    parameters = dict(net.named_parameters())
    converted = convert_sync_bn(net)
    assert isinstance(converted[1], SyncBatchNorm) and isinstance(converted[2][0], SyncBatchNorm)
    assert list(converted.state_dict()) == names
    assert all(parameter is parameters[name] for name, parameter in converted.named_parameters())
    assert converted[1].running_mean is norm.running_mean
    assert (converted[1].eps, converted[1].momentum, converted[1].training) == (1e-3, 0.3, False)


def test_a_norm_without_shift_stays_without() -> None:
    norm = nn.BatchNorm1d(3)
    norm.register_parameter("bias", None)
    converted = convert_sync_bn(norm)
    assert converted.bias is None
    assert converted.weight is norm.weight
    converted(torch.randn(4, 3)).sum().backward()


def test_groups_of_one_leave_the_module_alone() -> None:
    assert isinstance(convert_sync_bn(_net(), 1)[1], nn.BatchNorm2d)
