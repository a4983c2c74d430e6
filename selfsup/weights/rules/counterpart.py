"""Other libraries' networks like our backbones, without classifier, as the code that makes them.

The code that a user is given is the code that was run. Which networks may be alike is said by each family's file.
"""

import warnings
from typing import Any

import torch


def of_timm(*names: str, **arguments: Any) -> list[str]:
    """Code for timm's networks of these names, all with the same arguments."""
    stated = "".join(f", {key}={value!r}" for key, value in arguments.items())
    return [f"import timm; model = timm.create_model({name!r}, num_classes=0{stated})" for name in names]


def made(code: str) -> Any:
    """The network that such code makes."""
    names: dict[str, Any] = {"torch": torch}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm imports what torch deprecates
        exec(code, names)
    return names["model"]
