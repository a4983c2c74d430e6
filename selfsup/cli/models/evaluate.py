"""``selfsup evaluate``: what a backbone is worth on labelled images, beside what needs no training."""

import argparse
import contextlib
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from selfsup.config.images import images_name
from selfsup.errors import ConfigError, SelfsupError, nearest
from selfsup.ops.images import on_background

SHOWN = 8  # mistakes of each kind in the picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "weights", nargs="+", metavar="WEIGHTS", help="work dirs, files with a card, or timm:NAME; A+B is their fusion"
    )
    parser.add_argument("--data", metavar="TRAIN", help="labelled images: a folder of classes, a list, shards or a URL")
    parser.add_argument("--config", metavar="NAME", help="tasks and evaluators of a config instead, such as eval/voc07")
    parser.add_argument("--test", metavar="TEST", help="test images (default: a fifth of --data, the same every time)")
    parser.add_argument("--labels", choices=("folder", "column"), help="where labels are (default: found by itself)")
    parser.add_argument("--groups", metavar="GROUPS", help="folder, column or REGEX: what lies on one side of a split")
    parser.add_argument("--pretraining", metavar="PATH", help="images the weights were trained on, to look for leaks")
    protocols = "default: knn,linear,logistic,few_shot,spread; others are vissl_knn, svm, retrieval, corruptions"
    parser.add_argument("--protocols", metavar="A,B", help=protocols)
    parser.add_argument("--layer", default="pooled", help="pooled (default), or res2 to res5")
    parser.add_argument("--flips", action="store_true", help="average the features of each image and its mirror image")
    parser.add_argument(
        "--fusion-scaling",
        choices=("none", "normalize", "standardize"),
        default="none",
        help="what is done to the features of A and of B: nothing (default); divided by their length, image by image; "
        "or mean 0 and deviation 1 over the training images",
    )
    parser.add_argument("--work-dir", type=Path, metavar="DIR", help="default: work_dirs/evaluate_<TRAIN or NAME>")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: the GPU where there is one)")
    parser.add_argument("--no-baselines", action="store_true", help="without image statistics and untrained networks")


def run(chosen: argparse.Namespace) -> int:
    """Evaluate frozen features by several protocols, with intervals and baselines, and look for leaks."""
    from selfsup.cli.models.compare import wide_console
    from selfsup.evaluation.battery import baselines_of, evaluate_rows
    from selfsup.evaluation.leaks import find_leaks
    from selfsup.ops.dist import from_main, is_main
    from selfsup.ops.launch import init_process_group, leave_process_group, local_device

    if (chosen.data is None) == (chosen.config is None):
        raise ConfigError.at("--data", "needs labelled images, or --config a config, one of the two")
    init_process_group(device=chosen.device)
    console = wide_console()
    console.quiet = not is_main()
    tasks, evaluators, only, layer = _of_config(chosen) if chosen.config else _of_images(chosen, console)
    for task in tasks.values():
        _describe(task, console)
    if all(task.fits(evaluator.needs) for task in tasks.values() for evaluator in evaluators.values()):
        raise ConfigError.at("--data", "no protocol fits these images", expected="labels: a folder a class, or a list")
    name = images_name(chosen.data) if chosen.data else Path(chosen.config).stem
    work_dir = chosen.work_dir or Path("work_dirs", f"evaluate_{name}")
    options: dict[str, Any] = {"layer": layer, "device": local_device(chosen.device), "cache": work_dir / "features"}
    fusion = _fusion(chosen, tasks)
    representations = {spec: _opened(spec, fusion, flips=chosen.flips, **options) for spec in chosen.weights}
    baselines: set[str] = set()
    for spec in () if chosen.no_baselines else chosen.weights:
        for baseline in baselines_of(spec, representations[spec], cache=options["cache"]):
            if baseline.fingerprint not in {each.fingerprint for each in representations.values()}:
                representations[baseline.name] = baseline
                baselines.add(baseline.name)
    pretraining = _pretraining(chosen)
    leaks = {}
    for task in tasks.values():
        for each in task.tests():
            find = functools.partial(find_leaks, each, pretraining=pretraining, cache=options["cache"])
            leaks[each.name] = from_main(find)
            for line in leaks[each.name].lines():
                console.print(line, style="bold red", highlight=False, soft_wrap=True)
    results = work_dir / "results.jsonl"
    for name, representation in representations.items():
        evaluate_rows(
            representation,
            tasks,
            evaluators,
            only=only,
            leaks=leaks,
            results=results,
            about={"baseline": True} if name in baselines else None,
            note=lambda line: console.print(line, highlight=False, soft_wrap=True),
        )
    reports = is_main()
    leave_process_group()
    return _report(tasks, results, list(representations.values()), console) if reports else 0


def _of_config(chosen: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any], dict[str, str], str]:
    """Tasks, evaluators, the tasks that some are meant for, and the layer, of a config."""
    from selfsup.config import Recipe, find_config
    from selfsup.config.read import read_config
    from selfsup.evaluation.build import build_evaluators, build_tasks

    config = read_config(find_config(chosen.config))
    for key in ("tasks", "evaluators"):
        if not config.get(key):
            raise ConfigError.at("--config", f"{chosen.config} has no {key}")
    evaluators, only = build_evaluators(config["evaluators"])
    layer = config.get("layer", Recipe.layer) if chosen.layer == Recipe.layer else chosen.layer
    return build_tasks(config["tasks"], None, None), evaluators, only, layer


def _of_images(
    chosen: argparse.Namespace, console: Console
) -> tuple[dict[str, Any], dict[str, Any], dict[str, str], str]:
    """The same of ``--data`` and ``--protocols``."""
    from selfsup.registry import EVALUATORS

    evaluators = {name: EVALUATORS.build(dict(section)) for name, section in _protocols(chosen.protocols).items()}
    task = _task(chosen, console)
    return {task.name: task}, evaluators, {}, chosen.layer


def _describe(task: Any, console: Console) -> None:
    for each in task.tests():
        parts = each.parts
        sizes = {"to learn from": parts.train, "to choose by": parts.val, "to test": parts.test}
        counts = ", ".join(f"{len(part):,} {what}" for what, part in sizes.items() if part is not None)
        console.print(
            f"{each.name}: {counts}; {len(parts.test.classes or ())} classes", highlight=False, soft_wrap=True
        )


def _protocols(named: str | None) -> dict[str, dict[str, Any]]:
    from selfsup.evaluation.battery import DEFAULT_PROTOCOLS, NAMED_PROTOCOLS
    from selfsup.registry import EVALUATORS

    if named is None:
        return DEFAULT_PROTOCOLS
    by_word: dict[str, dict[str, Any]] = {_word(name): {"type": name} for name in EVALUATORS.names()} | NAMED_PROTOCOLS
    wanted = [word.strip() for word in named.split(",") if word.strip()]
    for word in wanted:
        if word not in by_word:
            raise ConfigError.at("--protocols", "no such protocol", got=word, expected=nearest(word, by_word))
    return {word: by_word[word] for word in wanted}


def _word(name: str) -> str:
    """``LogisticRegression`` as ``logistic_regression``, ``KNN`` as ``knn``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _task(chosen: argparse.Namespace, console: Console) -> Any:
    """The task: two sources, or one that is split in the same way each time."""
    from selfsup.data import Split, split
    from selfsup.evaluation import Task
    from selfsup.planning.own_images import labels_needed, open_images

    def labelled(path: str, option: str) -> Any:
        return open_images(path, chosen.labels or labels_needed(path, option)[0], chosen.groups, option=option)

    name = images_name(chosen.data)
    images = labelled(chosen.data, "--data")
    if chosen.test is not None:
        return Task(name, train=images, test=labelled(chosen.test, "--test"))
    for run in runs_of(chosen.weights):
        found = Split.read(run, images)
        if found is not None and len(found.test):
            console.print(f"test images: those that the run in {run} has held out", highlight=False, soft_wrap=True)
            return Task(name, train=found.train, val=found.val if len(found.val) else Task.val, test=found.test)
    parts = split(images, val=0.0, test=0.2, max_images=len(images))
    if not len(parts.test):
        raise ConfigError.at("--data", "no class has two images, so that nothing can be held out as test images")
    return Task(name, train=parts.train, test=parts.test)


def runs_of(weights: list[str]) -> list[Path]:
    """The work dirs among what is evaluated."""
    return [path for spec in weights for part in spec.split("+") if (path := Path(part).expanduser()).is_dir()]


def _pretraining(chosen: argparse.Namespace) -> list[Any]:
    """The images that the weights were trained on, as the command or the configs of their runs say, where known."""
    from selfsup.config import load_config
    from selfsup.data import Split
    from selfsup.evaluation.extraction.fingerprint import fingerprint
    from selfsup.planning.own_images import open_images
    from selfsup.registry import DATASETS

    if chosen.pretraining is not None:
        return [open_images(chosen.pretraining, option="--pretraining")]
    known: dict[str, Any] = {}
    for run in runs_of(chosen.weights):
        with contextlib.suppress(SelfsupError):  # a folder that has moved, a part that is not installed
            images = DATASETS.build(load_config(run / "config.py").train_dataloader.dataset)
            found = Split.read(run, images)
            trained_on = images if found is None else found.train
            known.setdefault(fingerprint(trained_on), trained_on)
    return list(known.values())


def _fusion(chosen: argparse.Namespace, tasks: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of fusions."""
    scaling = chosen.fusion_scaling
    if scaling != "none" and not any("+" in spec for spec in chosen.weights):
        raise ConfigError.at("--fusion-scaling", "is for fusions", got=chosen.weights, expected="A+B")
    if scaling != "standardize":
        return {"scaling": scaling}
    references = [task.parts.train for task in tasks.values()]
    if len(references) != 1 or references[0] is None:
        raise ConfigError.at(
            "--fusion-scaling",
            "standardize takes means and deviations from the training images of one task",
            got=", ".join(tasks),
            expected="a task at a time, with training images",
        )
    return {"scaling": scaling, "reference": references[0]}


def _opened(spec: str, fusion: Mapping[str, Any], **options: Any) -> Any:
    from selfsup.evaluation import Fusion
    from selfsup.evaluation.opening import open_representation

    parts = [open_representation(part, **options) for part in spec.split("+")]
    return parts[0] if len(parts) == 1 else Fusion(*parts, **fusion)


def _report(tasks: Mapping[str, Any], results: Path, representations: list[Any], console: Console) -> int:
    from selfsup.cli.models.compare import shown_table, told
    from selfsup.evaluation.comparison import comparable, difference, main_scores, names_of, read_entries
    from selfsup.evaluation.leaks import ALSO

    ours = {representation.fingerprint for representation in representations}
    entries = [entry for entry in read_entries([results]) if entry.row.representation["fingerprint"] in ours]
    lines = main_scores(comparable(entries))
    names = names_of(entries)
    order = [names[representation.fingerprint] for representation in representations]
    console.print(shown_table(lines, order))
    for entry in entries:
        for note in (note for note in entry.row.notes if ALSO not in note):  # those were said before
            console.print(
                f"{names[entry.row.representation['fingerprint']]}, {entry.row.evaluator}: {note}", highlight=False
            )
    mine = order[0]
    for line in lines:
        for other in order[1:]:
            if (found := difference(line, other, mine)) is not None:
                console.print(told(line, found, other, mine, several=len(order) > 2), soft_wrap=True, highlight=False)
    panels = {
        line.title: {name: (score.value, score.low, score.high) for name, score in line.values.items()}
        for line in lines
    }
    from selfsup.plots import CAN_DRAW, NOT_DRAWN

    picture = NOT_DRAWN
    if CAN_DRAW:
        from selfsup.plots import draw_comparison

        picture = str(draw_comparison(panels, results.with_name("scores.png"), names=order))
    console.print(f"scores as a picture: {picture}", highlight=False, soft_wrap=True)
    for task in (each for whole in tasks.values() for each in whole.tests()):
        _mistakes(task, results, [line for line in lines if line.task == task.name], mine, console)
    console.print(
        f"rows in {results}; side by side again with: selfsup compare {results.parent}", highlight=False, soft_wrap=True
    )
    return 0


def _mistakes(task: Any, results: Path, lines: list[Any], mine: str, console: Console) -> None:
    """A table of the test images that are named wrongly, and a picture of some."""
    from selfsup.evaluation.comparison import predictions_of_entry
    from selfsup.evaluation.mistakes import KINDS, find_mistakes, write_mistakes
    from selfsup.plots import CAN_DRAW

    predictions: Mapping[str, Any] = {
        line.evaluator: found
        for line in lines
        if mine in line.entries and (found := predictions_of_entry(line.entries[mine])) is not None
    }
    by = next((name for name in ("logistic", "linear", *predictions) if name in predictions), None)
    if by is None:
        return
    test, mistakes = task.parts.test, find_mistakes(predictions, by=by)
    path = results.with_name(f"mistakes_{re.sub(r'[^a-zA-Z0-9_-]+', '_', task.name)}.csv")
    write_mistakes(mistakes, path)
    if not mistakes:
        return
    place = dict(zip(predictions[by].names, predictions[by].index.tolist(), strict=True))
    rows = {
        kind: [
            (on_background(test.image(place[each.name])), each.label, each.predicted)
            for each in [each for each in mistakes if each.kind == kind][:SHOWN]
        ]
        for kind in KINDS
    }
    drawn = ""
    if CAN_DRAW:
        from selfsup.plots import draw_mistakes

        title = f"Mistakes of {mine} by {by} on {task.name}"
        drawn = f", some of them in {draw_mistakes(rows, path.with_suffix('.png'), title=title)}"
    console.print(
        f"{len(mistakes):,} mistakes of {mine} by {by}: {path}{drawn}",
        highlight=False,
        soft_wrap=True,
    )
