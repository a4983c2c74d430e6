"""``selfsup export``: a trained backbone in the formats of other programs."""

import argparse
from dataclasses import replace

from selfsup.config import config_name, load_config

FORMATS = ("safetensors", "torchvision", "timm", "onnx", "torch-export")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "config", metavar="CONFIG", help="a file, or a name that `selfsup configs` lists; or a classifier alone"
    )
    parser.add_argument(
        "checkpoint",
        nargs="?",
        metavar="CHECKPOINT",
        help="a checkpoint, an exported backbone, or a work dir for its newest; none for a classifier",
    )
    parser.add_argument("--format", choices=FORMATS, default="safetensors", help="default: %(default)s")
    parser.add_argument("--output", required=True, metavar="FILE", help="the file to write; a card goes beside it")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], action="extend", metavar="K=V", help="change config values"
    )


def run(chosen: argparse.Namespace) -> int:
    """Write a trained backbone for other programs, and run both to compare."""
    if chosen.checkpoint is None:
        return _classifier(chosen)
    recipe = load_config(chosen.config, chosen.cfg_options)
    recipe = replace(recipe, recipe=recipe.recipe or config_name(chosen.config))
    from selfsup.engine.save import run_card
    from selfsup.engine.start import load_method
    from selfsup.registry import METHODS
    from selfsup.weights.card import card_path, provenance
    from selfsup.weights.checkpoint import checkpoint_file
    from selfsup.weights.export import export

    checkpoint = checkpoint_file(chosen.checkpoint)
    method = METHODS.build(recipe.model)
    step = load_method(checkpoint, method)
    began = {"file": recipe.load_from} if recipe.load_from is not None else None
    card = run_card(recipe, method, step=step, started_from=began, earlier=provenance(checkpoint))
    written = export(method.representation, card, chosen.output, format=chosen.format, source=checkpoint)
    print(
        f"written to {written.path}, with a card in {card_path(written.path).name}; on random images its features "
        f"differ by at most {written.difference:.1e} of the greatest"
    )
    print(f"load it with: {written.usage}")
    print("it takes normalized images: range, mean and std are under 'preprocess' in the card")
    return 0


def _classifier(chosen: argparse.Namespace) -> int:
    """A classifier that ``selfsup transfer`` has left, with its head."""
    from selfsup.transfer.classifier import export_classifier
    from selfsup.weights.card import card_path

    written = export_classifier(chosen.config, chosen.output, format=chosen.format)
    print(
        f"written to {written.path}, with a card in {card_path(written.path).name}; on random images its logits differ "
        f"by at most {written.difference:.1e} of the greatest"
    )
    print(f"load it with: {written.usage}")
    print("it takes normalized images: range, mean and std are under 'preprocess' in the card, names under 'classes'")
    return 0
