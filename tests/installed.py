"""Packages as pip would install them, written by hand: a module, and beside it what importlib.metadata reads."""

from pathlib import Path

BACKBONE = """
from torch import nn

from selfsup.registry import BACKBONES


@BACKBONES.register_module()
class {name}(nn.Module):
    '''A backbone of a package of somebody else's.'''

    def __init__(self, out_dim: int = 4) -> None:
        super().__init__()
        self.out_dim = out_dim

    def forward(self, images):
        return images.mean((2, 3)).repeat(1, 2)[:, :4]
"""


def install(folder: Path, module: str, code: str, *, package: str | None = None, version: str = "1.2") -> Path:
    """Put a one-file package that offers itself as a plugin into a folder of ``sys.path``; gives the file."""
    package = package or module.replace("_", "-")
    information = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (information / "entry_points.txt").write_text(f"[selfsup.plugins]\n{module} = {module}\n")
    file = folder / f"{module}.py"
    file.write_text(code)
    return file
