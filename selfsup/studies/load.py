"""From a config to a study, on the config's images or on somebody's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfsup.config import find_config, load_config
from selfsup.config.find import CONFIG_FOLDERS
from selfsup.config.read import read_config
from selfsup.data import ImageList
from selfsup.errors import ConfigError, nearest, under
from selfsup.ops.launch import local_device
from selfsup.planning.own_images import choose, device_kind, look
from selfsup.studies.axes.axis import AXES
from selfsup.studies.recipes import Base
from selfsup.studies.study import Study

KEYS = ("name", "question", "seeds", "axes")
SHARES = {"val": 0.1, "test": 0.2}
"""Of somebody's own images: to choose in, and to evaluate on; neither is ever pretrained on."""


def study_names() -> list[str]:
    """The packaged studies, as :func:`load_study` takes them."""
    folder = next((folder / "studies" for folder in CONFIG_FOLDERS if (folder / "studies").is_dir()), None)
    return [] if folder is None else sorted(f"studies/{file.stem}" for file in folder.glob("[!_]*.py"))


def load_study(
    path_or_name: str | Path, *, data: str | Path | None = None, labels: str | None = None, seeds: int | None = None
) -> Study:
    """A study as a config states it: ``study = dict(name=..., question=..., seeds=3, axes=[dict(type=...), ...])``.

    Args:
        path_or_name: a file, or the name of a packaged study such as ``'studies/quantity_scenes'``.
        data: a folder of images or a list of them, which replaces the config's images, tasks and recipes.
        labels: where their labels are: ``'folder'`` or ``'column'``; None looks for them.
        seeds: how many repetitions, instead of the config's number.

    Raises:
        ConfigError: if the config is wrong, or an axis needs what the images do not have.
        DataError: if ``data`` names no images.
    """
    config = read_config(find_config(path_or_name))
    section = config.get("study")
    if not isinstance(section, Mapping) or "axes" not in section:
        raise ConfigError.at("study", "must be a dict with axes", got=section, expected="see docs/studies.md")
    for key in section:
        if key not in KEYS:
            raise ConfigError.at(f"study.{key}", "is no key of a study", expected=nearest(key, KEYS))
    axes = [dict(axis) for axis in section["axes"]]
    if data is not None:
        axes = on_own_images(axes, Path(data).expanduser(), labels)
    count = seeds or section.get("seeds", 3)
    if not isinstance(count, int) or count < 1:
        raise ConfigError.at("study.seeds", "must be a whole number, >= 1", got=count)
    built = []
    for number, axis in enumerate(axes):
        with under(f"study.axes.{number}"):
            built.append(AXES.build(axis))
    name = str(section.get("name", Path(path_or_name).stem))
    name = name if data is None else f"{name} on {Path(data).expanduser().resolve().name}"
    own = "" if data is None else str(Path(data).expanduser().resolve())
    return Study(name, built, range(count), str(section.get("question", "")), own)


def on_own_images(axes: list[dict[str, Any]], root: Path, labels: str | None) -> list[dict[str, Any]]:
    """Axes with other images: split once, their test part in no training, and the recipe that fits them.

    Raises:
        ConfigError: if there are no labels, or an axis needs several sources or a hierarchy of classes.
    """
    found = look(root, labels=labels or "auto")
    if found.labels is None:
        raise ConfigError.at(
            "--labels", f"no labels are found in {root}, and a study scores by them", expected=found.said or "folder"
        )
    whole = {"type": "ImageList", "root": str(root.absolute()), "labels": found.labels}
    parts = {part: {"type": "Part", "dataset": whole, "part": part, **SHARES} for part in ("train", "val", "test")}
    classes = len(ImageList(root, found.labels).classes or ())  # type: ignore[arg-type]
    choice = choose(found, device_kind(local_device(None)))
    of_images = {key: value for key, value in choice.options.items() if key != "train_dataloader.dataset.labels"}

    def base(given: Base) -> dict[str, Any]:
        named: Mapping[str, Any] = {"config": given} if isinstance(given, str) else given
        own = {key: value for key, value in named.get("options", {}).items() if key not in of_images}
        own = {key: value for key, value in own.items() if not key.startswith("train_dataloader")}
        known: dict[str, Any] = {"config": choice.config, "options": {**own, **of_images}}
        supervised = "classifier" in named or load_config(named["config"]).model["type"] == "Supervised"
        if supervised:
            known["classifier"] = {"steps": 1000, **named.get("classifier", {}), "num_classes": classes}
        return known

    changed = []
    for axis in axes:
        for key in ("sources", "levels"):
            if key in axis:
                raise ConfigError.at(
                    "--data",
                    f"{axis['type']} needs {key}, which one folder does not have",
                    expected="a config of its own",
                )
        for factor, values in axis.get("factors", {}).items():
            if any(path.startswith("train_dataloader.dataset") for change in values.values() for path in change):
                raise ConfigError.at(
                    "--data", f"the factor {factor} chooses the images itself", expected="another study"
                )
        own = {**axis, "task": {"type": "Task", **parts}, "task_name": root.resolve().stem, "images": parts["train"]}
        own |= {"base": base(axis["base"])} if "base" in axis else {}
        own |= {"methods": {name: base(each) for name, each in axis["methods"].items()}} if "methods" in axis else {}
        fields = AXES.find(axis["type"]).__dataclass_fields__
        own |= {"labelled": parts["train"]} if "labelled" in fields else {}
        own |= {"num_classes": classes} if "num_classes" in fields else {}
        own |= {"before": (), "size": _size(choice.config, of_images)} if axis["type"] == "Pairs" else {}
        changed.append({key: value for key, value in own.items() if key not in ("published", "source")})
    return changed


def _size(config: str, options: Mapping[str, Any]) -> int:
    key = "train_dataloader.views.size"
    return int(options[key] if key in options else load_config(config).train_dataloader.views["size"])
