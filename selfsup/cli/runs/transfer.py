"""``selfsup transfer``: from weights and labelled images to a classifier that can be used."""

import argparse
import time
from pathlib import Path

from rich.console import Console

from selfsup.config.images import images_name, images_section
from selfsup.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("weights", metavar="WEIGHTS", help="a work dir, a file of weights with its card, or timm:NAME")
    labelled = "labelled images: a folder of classes, a list, shards or a URL"
    parser.add_argument("--data", required=True, metavar="TRAIN", help=labelled)
    parser.add_argument("--test", metavar="TEST", help="test images (default: a fifth of --data, the same every time)")
    parser.add_argument("--labels", choices=("folder", "column"), help="where labels are (default: found by itself)")
    parser.add_argument("--groups", metavar="GROUPS", help="folder, column or REGEX: what lies on one side of a split")
    parser.add_argument("--rule", metavar="RULE", help="bit, fine-tune or linear (default: what fits device and time)")
    parser.add_argument("--budget", metavar="TIME", help="how long it may take, such as 5m (default by the device)")
    parser.add_argument("--labels-per-class", type=int, metavar="N", help="learn from so many images of each class")
    parser.add_argument("--share", type=float, metavar="S", help="learn from this share of each class, such as 0.1")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="side of the images (default: the weights')")
    parser.add_argument("--micro-batch", type=int, metavar="N", help="images at a time, accumulated to the same batch")
    parser.add_argument("--from-scratch", action="store_true", help="the same network with random weights: the control")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the run and of the labels that are drawn")
    parser.add_argument("--work-dir", type=Path, metavar="DIR", help="default: work_dirs/transfer_<name of TRAIN>")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: the GPU where there is one)")


def run(chosen: argparse.Namespace) -> int:
    """Train a classifier on labelled images, and leave it with its scores, mistakes and card."""
    from selfsup.ops.launch import init_process_group, local_device
    from selfsup.planning.budget import clock, parse_budget
    from selfsup.planning.own_images import device_kind, labels_needed
    from selfsup.transfer import Labelled, Start
    from selfsup.transfer.choose import USUAL_BUDGET, choose
    from selfsup.transfer.classifier import MODEL
    from selfsup.transfer.report import write_report

    init_process_group(device=chosen.device)
    console = Console(soft_wrap=True, highlight=False)
    budget = chosen.budget or USUAL_BUDGET[device_kind(local_device(chosen.device))]
    parse_budget(budget)  # a mistake is said before anything is read
    if chosen.test is not None:
        images_section(chosen.test, option="--test")  # likewise
    labels, said = (chosen.labels, "") if chosen.labels else labels_needed(chosen.data, "--data")
    if said:
        console.print(said.partition(";")[0])
    if chosen.labels_per_class is not None and chosen.labels_per_class < 1:
        raise ConfigError.at("--labels-per-class", "must be >= 1", got=chosen.labels_per_class)
    data = Labelled.of(
        chosen.data,
        chosen.test,
        labels=labels,
        groups=chosen.groups,
        per_class=chosen.labels_per_class,
        share=chosen.share,
        seed=chosen.seed,
        val=0.0 if chosen.rule == "bit" else None,
    )
    data.check()
    start = Start.open(chosen.weights)
    start = start.from_scratch() if chosen.from_scratch else start
    parts = {"to learn from": data.train, "to choose by": data.val, "test images": data.test}
    from selfsup.registry import DATASETS

    counts = [f"{len(DATASETS.build(part)):,} {what}" for what, part in parts.items() if part is not None]
    console.print(f"{len(data.classes)} classes; images: {', '.join(counts)}")
    work_dir = chosen.work_dir or Path("work_dirs", f"transfer_{images_name(chosen.data)}")
    choice = choose(
        start,
        data,
        budget=budget,
        rule=chosen.rule,
        work_dir=work_dir,
        size=chosen.size,
        micro_batch=chosen.micro_batch,
        seed=chosen.seed,
        device=chosen.device,
    )
    for line in choice.why:
        console.print(line)
    out = choice.transfer.run(
        start,
        data,
        work_dir=work_dir,
        device=chosen.device,
        budget=budget,
        began=chosen.began,
        note=lambda line: console.print(line),
    )
    files = write_report(out, data)
    if out.rows:
        scores = out.rows[0].scores
        told = ", ".join(
            f"{name} {score.value:.1%}" + (f" [{score.low:.1%}, {score.high:.1%}]" if score.low is not None else "")
            for name, score in scores.items()
        )
        step = out.rows[0].representation["chosen_by"]
        console.print(f"\non {out.rows[0].task['images']['test']:,} test images: {told} (step {out.step}, by {step})")
    took = clock(time.monotonic() - chosen.began)
    console.print(f"done in {took} of {budget}; in {work_dir}: {', '.join([MODEL, *(path.name for path in files)])}")
    console.print(f"next:\n  selfsup predict {work_dir} IMAGE_OR_FOLDER... --out labels.csv")
    console.print(f"  selfsup export {work_dir} --format onnx --output {work_dir}/classifier.onnx")
    return 0
