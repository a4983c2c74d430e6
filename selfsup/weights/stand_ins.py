"""What the checkpoints of other programs hold besides tensors, read without running any of it.

PyTorch's safe loader rejects every name outside its list. Training scripts also save numbers of NumPy, options and
config dicts. None of it is needed here, so each such name is answered with an object of ours that forgets what it is
given: nothing of the named packages is called, or even imported. A name that is not listed here is still rejected.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any


class Inert:
    """Stands where a file has an object of another program."""

    def __new__(cls, *_ignored: Any) -> "Inert":
        """Whatever it was made from."""
        return super().__new__(cls)

    def __init__(self, *_ignored: Any) -> None:
        pass

    def __setstate__(self, _ignored: Any) -> None:
        """Whatever it held."""


def empty_mapping(*_ignored: Any) -> OrderedDict[Any, Any]:
    """Stands where a file calls something to make a dict, which it then fills."""
    return OrderedDict()


OBJECTS = (
    *(
        f"{package}.multiarray.{name}"
        for package in ("numpy.core", "numpy._core")
        for name in ("scalar", "_reconstruct")
    ),
    "numpy.ndarray",
    "numpy.dtype",
    "argparse.Namespace",
    "types.SimpleNamespace",
    "pathlib.PosixPath",
    "builtins.dict",
    "builtins.list",
    "builtins.int",
    "builtins.float",
)
MAPPINGS = (  # the loader fills only exact dicts and OrderedDicts
    "vissl.config.attr_dict.AttrDict",
    "vissl.utils.hydra_config.AttrDict",
    "easydict.EasyDict",
    "yacs.config.CfgNode",
)

STAND_INS: tuple[tuple[Callable[..., Any], str], ...] = (
    *((Inert, name) for name in OBJECTS),
    *((OrderedDict, name) for name in MAPPINGS),
    (empty_mapping, "collections.defaultdict"),
)
"""For ``torch.serialization.safe_globals``."""
