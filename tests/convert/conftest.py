import warnings
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def timm() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm 1.0 imports what torch 2.14 deprecates
        return pytest.importorskip("timm")
