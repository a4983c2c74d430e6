"""The blocks of a page: files, commands, and what else is there to run."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


class Page:
    """A page of docs/."""

    def __init__(self, name: str) -> None:
        self.text = (DOCS / name).read_text(encoding="utf-8")
        self.blocks = re.findall(r"^```(\w+)\n(.*?)^```", self.text, flags=re.DOTALL | re.MULTILINE)
        self.files: dict[str, str] = {}
        self.snippets: list[str] = []
        for kind, body in self.blocks:
            if kind != "python":
                continue
            if heading := re.match(r"# (\w+\.py)\n", body):
                self.files[heading.group(1)] = body
            else:
                self.snippets.append(body)
        self.commands = [line for kind, body in self.blocks if kind == "bash" for line in body.splitlines()]

    def write(self, folder: Path) -> Path:
        """The page's files in a folder."""
        for name, text in self.files.items():
            (folder / name).write_text(text)
        return folder

    def tests(self) -> Iterator[tuple[str, object]]:
        """The test functions of its files, which lie in a folder that modules are found in."""
        for name in self.files:
            if name.startswith("test_"):
                module = importlib.import_module(name.removesuffix(".py"))
                yield from ((name, value) for name, value in vars(module).items() if name.startswith("test_"))

    def config(self) -> str:
        """The name of its only config."""
        (name,) = [name for name, text in self.files.items() if "_base_" in text]
        return name
