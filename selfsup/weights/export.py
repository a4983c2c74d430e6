"""A trained backbone in the formats of other programs, each compared with the original before it counts as written."""

import copy
import importlib
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.errors import CheckpointError, SelfsupError, nearest
from selfsup.registry import BACKBONES
from selfsup.weights.card import check_card
from selfsup.weights.load_report import compare
from selfsup.weights.read import read_weights
from selfsup.weights.rules import bit, regnet, resnet, vit
from selfsup.weights.rules.architecture import described, family
from selfsup.weights.rules.counterpart import made, of_timm
from selfsup.weights.rules.rule import translate
from selfsup.weights.rules.sources import layouts
from selfsup.weights.write import write_card, write_weights

TRACED_FORMATS = ("onnx", "torch-export")  # hold the network itself; the others its tensors
TRACED = 2  # images: the network is compared on another number of them, so that no batch size is built in
TOLERANCE = 1e-4  # greatest difference over greatest feature, float32
EXACT = 1e-9  # the same in float64
Run = Callable[[Tensor], Tensor]
Write = Callable[[nn.Module, Mapping[str, Any], Path, Tensor], tuple[Run, str]]
"""Writes a backbone and its card; gives what runs the file, and how to load it as Python code."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    difference: float  # greatest one between its features and the original's, over the greatest feature, in float32
    usage: str  # how to load it, as Python code


def export(
    backbone: nn.Module, card: Mapping[str, Any], path: str | Path, *, format: str, source: Path | None = None
) -> Exported:
    """Write a backbone and compare what was written with it on random images.

    Args:
        backbone: what is written; it is put into eval mode.
        card: see :func:`~selfsup.weights.card.weights_card`; written beside the file as ``.json``.
        path: the file.
        format: ``'safetensors'`` (our names), ``'torchvision'`` or ``'timm'`` (their names, without classifier),
            ``'onnx'`` or ``'torch-export'`` (the network itself, for any batch size).
        source: the file that the backbone is from, which is not written over.

    Raises:
        CheckpointError: if the format does not know the network or needs a package that is not installed, if something
            of others would be replaced, if the network cannot be traced, if the file cannot be written, or if its
            features differ; whatever was at ``path`` before is untouched then.
    """
    if format not in FORMATS:
        raise CheckpointError.at("--format", f"no format is called {format!r}", expected=nearest(format, FORMATS))
    path = Path(path)
    if path.suffix not in SUFFIXES[format]:
        right = " or ".join(SUFFIXES[format])
        raise CheckpointError.at("--output", f"a file of format {format} must end in {right}", got=str(path))
    card = {**card, "format": format}
    check_card(path, card, source=source)
    backbone = backbone.eval()
    side = card["preprocess"]["size"] or 224
    images = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(0))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export_") as folder:
            draft = Path(folder, path.name)
            run, usage = FORMATS[format](backbone, card, draft, images[:TRACED])
            write_card(card, draft)
            difference = relative_difference(backbone, run, images)
            if not difference <= TOLERANCE and not _same_function(backbone, run, images):  # nan too
                what = f"the {format} file's features differ from the original's by {difference:.1e} of the greatest"
                raise CheckpointError.at(str(path), what, expected=f"at most {TOLERANCE:.0e} is rounding")
            for written in list(Path(folder).iterdir()):
                os.replace(written, path.parent / written.name)
    except SelfsupError:
        raise
    except OSError as error:
        raise CheckpointError.at(str(path), f"cannot be written ({error.strerror or error})") from error
    except Exception as error:  # each exporter and each runtime has errors of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        wanted = "for any batch size" if format in TRACED_FORMATS else f"for images of {side} px"
        what = f"{type(backbone).__name__} cannot be exported as {format} {wanted} ({reason})"
        raise CheckpointError.at(str(path), what, expected="choose format safetensors") from error
    return Exported(path, difference, usage.replace(str(draft), str(path)))


@torch.no_grad()
def relative_difference(reference: Run, other: Run, images: Tensor) -> float:
    """The greatest difference of two networks' features, over the greatest feature of the first."""
    expected, actual = reference(images), other(images)
    if expected.shape != actual.shape:
        return float("inf")
    return ((expected - actual).abs().max() / expected.abs().max().clamp_min(torch.finfo(torch.float32).tiny)).item()


def _same_function(backbone: nn.Module, run: Run, images: Tensor) -> bool:
    """Whether a network that differs in float32 does not in float64: over 152 layers rounding alone exceeds 1e-4."""
    if not isinstance(run, nn.Module) or isinstance(run, torch.fx.GraphModule):  # a traced one has types built in
        return False
    difference = relative_difference(copy.deepcopy(backbone).double(), run.double(), images.double())
    return difference <= EXACT


def counterpart(backbone: Any, library: str) -> tuple[dict[str, Tensor], nn.Module, str]:
    """The same network as ``library`` builds it.

    Returns:
        The weights under the library's names, the library's model without classifier, not loaded yet, and the code
        that makes it.

    Raises:
        CheckpointError: if the library, ``'torchvision'`` or ``'timm'``, has no such network.
    """
    own = backbone.state_dict()
    if library == "timm" and type(backbone).__name__ == "Timm":
        candidates = of_timm(backbone.name, **backbone.model_args)
    else:
        candidates = _CANDIDATES[library].get(family(own), lambda _: [])(backbone)
    for code in candidates:
        with torch.device("meta"):
            empty = made(code).state_dict()
        translation = translate(empty, layouts(library, backbone, whole=False))
        if translation is not None and compare(translation, own, dispensable=None).complete:
            weights = {theirs: own[ours] for ours, theirs in translation.names.items()}
            return weights, made(code), code
    what = f"has no network like the {described(own) or type(backbone).__name__}"
    raise CheckpointError.at(library, what, expected="choose format safetensors, onnx or torch-export")


_CANDIDATES: dict[str, dict[str, Callable[[Any], list[str]]]] = {
    "torchvision": {"RegNet": regnet.in_torchvision, "ResNet": resnet.in_torchvision, "ViT": vit.in_torchvision},
    "timm": {"RegNet": regnet.in_timm, "ResNet": resnet.in_timm, "BiTResNet": bit.in_timm, "ViT": vit.in_timm},
}


def _safetensors(backbone: nn.Module, card: Mapping[str, Any], path: Path, images: Tensor) -> tuple[Run, str]:
    write_weights(backbone.state_dict(), path, card)
    again = BACKBONES.build(dict(card["backbone"]))
    again.load_state_dict(read_weights(path), strict=True)
    return again.eval(), f"selfsup.weights.trained_backbone({str(path)!r})"


def _theirs(library: str, backbone: nn.Module, card: Mapping[str, Any], path: Path, _: Tensor) -> tuple[Run, str]:
    _need(library, extra=library)
    weights, model, code = counterpart(backbone, library)
    write_weights(weights, path, card)
    model.load_state_dict(read_weights(path), strict=True)
    reader = "safetensors.torch.load_file" if path.suffix == ".safetensors" else "torch.load"
    return model.eval(), f"{code}; model.load_state_dict({reader}({str(path)!r}))"


def _onnx(backbone: nn.Module, card: Mapping[str, Any], path: Path, images: Tensor) -> tuple[Run, str]:
    _need("onnx", "onnxscript", "onnxruntime", extra="export")
    import onnxruntime

    output = "logits" if "classes" in card else "features"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own parts
        program = torch.onnx.export(
            backbone,
            (images,),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=[output],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        )
        assert program is not None  # it is when no file is named
        program.save(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(batch: Tensor) -> Tensor:
        return torch.from_numpy(session.run([output], {"images": batch.numpy()})[0])

    return run, f"onnxruntime.InferenceSession({str(path)!r}).run(['{output}'], {{'images': images}})"


def _torch_export(backbone: nn.Module, card: Mapping[str, Any], path: Path, images: Tensor) -> tuple[Run, str]:
    with torch.no_grad():
        program = torch.export.export(
            backbone, (images,), dynamic_shapes={"images": {0: torch.export.Dim("batch")}}, strict=False
        )
    torch.export.save(program, path)
    return torch.export.load(path).module(), f"torch.export.load({str(path)!r}).module()(images)"


def _need(*packages: str, extra: str) -> None:
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError:
            what = f"needs the package {package}, which is not installed (pip install 'selfsup[{extra}]')"
            raise CheckpointError.at("--format", what) from None


FORMATS: dict[str, Write] = {
    "safetensors": _safetensors,
    "torchvision": partial(_theirs, "torchvision"),
    "timm": partial(_theirs, "timm"),
    "onnx": _onnx,
    "torch-export": _torch_export,
}
SUFFIXES = dict.fromkeys(FORMATS, (".pth", ".safetensors")) | {
    "safetensors": (".safetensors",),
    "onnx": (".onnx",),
    "torch-export": (".pt2",),
}
