"""BiT-HyperRule as a training: nothing is chosen but by the size of the task and of its images."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfsup.config import Recipe
from selfsup.data.decode.header import read_header
from selfsup.data.draws import draw
from selfsup.data.standard.sets import VTAB
from selfsup.errors import ConfigError, DecodeError, nearest, require
from selfsup.methods.base import Method
from selfsup.ops.dist import gather_objects, world_size
from selfsup.ops.launch import local_device
from selfsup.ops.memory import device_memory
from selfsup.registry import METHODS
from selfsup.transfer.bit_rule import HyperRule, Source, hyper_rule
from selfsup.transfer.fine_tune import QUIET
from selfsup.transfer.labelled import Labelled
from selfsup.transfer.start import Start
from selfsup.transfer.transfer import Transfer

BATCH = 512
LOOKED_AT = 20  # images whose size is looked at
USABLE = 0.5  # of the device's memory, for activations
WITHOUT_FLIP = ("dsprites_orientation", "snorb_azimuth", "dsprites_location")
WITHOUT_CROP = ("clevr_count", "clevr_distance", "dmlab", "kitti_distance", "dsprites_location")
"""Tasks of VTAB whose labels a flip or a crop would change.

Source: Kolesnikov et al. 2020, arXiv:1912.11370, supplement F.
"""


class HyperRuleTransfer(Transfer):
    """Fine-tune by BiT-HyperRule; any backbone.

    SGD with momentum 0.9 and no weight decay at batch 512, which is accumulated from what memory holds; the classifier
    starts at zero; MixUp from 20,000 images on. A task of fewer images than a batch is drawn with replacement. There is
    nothing to choose, so the last step counts and ``val`` is not looked at.

    Args:
        resolution: whose resize and crop, ``'code'`` or ``'paper'``: 512 and 480 pixels for every network, or 448 and
            384 for all but R152x4.
        drops: whose steps for a small task, ``'code'`` (200, 300, 400) or ``'paper'`` (150, 300, 450).
        vtab: name of a VTAB task, such as ``'clevr_count'``, some of which go without flip or crop; the paper's
            ``'clevr-count'`` is taken too. None for another task.
        size: (resize, crop) instead of the rule's, for networks of small images.
        steps: instead of the rule's, with warm-up and drops in proportion.
        base_lr: learning rate after the warm-up; that of the paper is made for BiT's networks.
        micro_batch: images at a time on each process; None for what memory holds.
        precision: of the forward pass.
        num_workers: processes that decode.
        seed: of the run.

    Source: Kolesnikov et al. 2020, arXiv:1912.11370, section 3.3 and supplement F; google-research/big_transfer
        bit_hyperrule.py, whose random flip in PyTorch is followed: its TensorFlow code flips every image.
    """

    name = "bit"

    def __init__(
        self,
        *,
        resolution: Source = "code",
        drops: Source = "code",
        vtab: str | None = None,
        size: tuple[int, int] | None = None,
        steps: int | None = None,
        base_lr: float = 0.003,
        micro_batch: int | None = None,
        precision: str = "auto",
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        if micro_batch is not None and (micro_batch < 1 or BATCH % micro_batch):
            raise ConfigError.at("micro_batch", f"must divide {BATCH}", got=micro_batch)
        require(steps is None or steps >= 1, "steps", "must be >= 1", got=steps)
        if size is not None and not 1 <= size[1] <= size[0]:
            raise ConfigError.at("size", "must be (resize, crop) with crop <= resize", got=size)
        self.resolution: Source = resolution
        self.drops: Source = drops
        self.vtab = None if vtab is None else vtab_task(vtab)
        self.size = size
        self.steps = steps
        self.base_lr = base_lr
        self.micro_batch = micro_batch
        self.precision = precision
        self.num_workers = num_workers
        self.seed = seed

    def rule(self, start: Start, data: Labelled) -> HyperRule:
        """What the rule says for these images, stretched or shortened to the steps that are asked for."""
        images, (height, width) = len(data.source), median_size(data.source)
        largest = _is_largest(start)
        ours = hyper_rule(images, height, width, self.drops, base_lr=self.base_lr)
        shown = hyper_rule(images, height, width, self.resolution, largest_network=largest)
        resize, crop = self.size or (shown.resize, shown.crop)
        steps = self.steps or ours.steps
        factor = steps / ours.steps
        return HyperRule(
            steps,
            round(factor * ours.warmup_steps),
            tuple(round(factor * drop) for drop in ours.drops),
            ours.mixup_alpha,
            resize,
            crop,
            ours.base_lr,
        )

    def recipe(self, start: Start, data: Labelled) -> Recipe:
        """See :class:`~selfsup.transfer.transfer.Transfer`."""
        rule, images = self.rule(start, data), len(data.source)
        flips, crops = self.vtab not in WITHOUT_FLIP, self.vtab not in WITHOUT_CROP
        resize = rule.resize if crops else rule.crop
        transforms: list[dict[str, Any]] = [{"type": "Resize", "size": (resize, resize)}]
        transforms += [{"type": "RandomCrop", "size": rule.crop}] if crops else []
        transforms += [{"type": "RandomHorizontalFlip"}] if flips else []
        model: dict[str, Any] = {
            "type": "Supervised",
            "backbone": start.backbone,
            "num_classes": len(data.classes),
            "loss": {"type": "CrossEntropyLoss"},
            "zero_init_head": True,
            "preprocess": start.normalization,
        }
        if rule.mixup_alpha:
            model["mixup_alpha"] = rule.mixup_alpha
        dataset = data.train
        if images < BATCH:
            drawn = {"count": BATCH * rule.steps, "replacement": True, "seed": self.seed}
            dataset = {"type": "Subset", "dataset": data.train, **drawn}
        micro = self.micro_batch or _micro_batch(model, rule.crop)
        require(
            BATCH % (micro * world_size()) == 0,
            "micro_batch",
            f"an update of {BATCH} images cannot be made of equal parts by {world_size()} processes",
            got=micro,
            expected=f"a power of two of processes, and at most {BATCH // world_size()} images each",
        )
        contract = {"size": rule.crop, "resize": "square", "crop": "none", "interpolation": "bilinear"}
        config: dict[str, Any] = {
            "model": model,
            "train_dataloader": {
                "batch_size": micro,
                "dataset": dataset,
                "views": {"type": "MultiView", "pipelines": [{"transforms": transforms}]},
                **({} if self.num_workers is None else {"num_workers": self.num_workers}),
            },
            "optim_wrapper": {
                "precision": self.precision,
                "accumulative_counts": BATCH // (micro * world_size()),
                "optimizer": {"type": "SGD", "lr": rule.base_lr, "momentum": 0.9, "weight_decay": 0.0},
            },
            "param_scheduler": {
                "type": "MultiStep",
                "steps": [drop + 1 for drop in rule.drops],  # the rate falls one update later
                "warmup_steps": rule.warmup_steps,
            },
            "train_cfg": {"max_steps": rule.steps},
            "tasks": {data.name: data.task_section()},
            "default_hooks": {"checkpoint": _saved(rule.steps), "evaluate": None, **QUIET},
            "input_contract": contract,
            "recipe": self.name,
            "seed": self.seed,
        }
        if start.file is not None:
            config["load_from"] = str(start.file)
        return Recipe.from_dict(config | {"split": None})

    def chosen(self, start: Start, data: Labelled) -> list[str]:
        """What will be done, and why."""
        rule, images, (height, width) = self.rule(start, data), len(data.source), median_size(data.source)
        kind = "small" if images < 20_000 else "medium" if images < 500_000 else "large"
        area = "below" if height * width < 96 * 96 else "not below"
        asked = "" if self.steps is None else " (as asked, the rest in proportion)"
        again = f", drawn with replacement, for there are fewer than {BATCH}" if images < BATCH else ""
        mixing = f"MixUp with alpha {rule.mixup_alpha:g}" if rule.mixup_alpha else "no MixUp"
        given = "as asked" if self.size else f"for their area is {area} 96 x 96, by the {self.resolution}"
        cropped = f"resized to {rule.resize} and cropped to {rule.crop}"
        shown = f"resized to {rule.crop} without a crop" if self.vtab in WITHOUT_CROP else cropped
        flip = "; no flip" if self.vtab in WITHOUT_FLIP else ""
        recipe = self.recipe(start, data)
        micro, processes = recipe.train_dataloader.batch_size, world_size()
        shared = f" on each of {processes} processes" if processes > 1 else ""
        why = "what memory holds" if self.micro_batch is None else "as asked"
        return [
            f"HyperRule: {images:,} images make it a {kind} task: {rule.steps:,} steps{asked} of {BATCH} images"
            f"{again}; warm-up {rule.warmup_steps}, a tenth after {', '.join(map(str, rule.drops))} "
            f"(by the {self.drops}), {mixing}",
            f"HyperRule: images of {width} x {height} px are {shown}, {given}{flip}",
            f"HyperRule: {micro} images at a time{shared} ({why}), accumulated {recipe.accumulate} times to {BATCH}",
        ]


def vtab_task(name: str) -> str:
    """A task of VTAB as :data:`~selfsup.data.standard.sets.VTAB` calls it; the paper's spelling is taken too.

    Raises:
        ConfigError: if there is no such task.
    """
    found = name.lower().replace("-", "_").replace("smallnorb", "snorb").replace("cifar_100", "cifar100")
    require(found in VTAB, "vtab", "no such task of VTAB", got=name, expected=nearest(found, VTAB))
    return found


def median_size(source: Any) -> tuple[int, int]:
    """Height and width of a source's images, the medians of a few."""
    sizes = []
    for index in draw(len(source), min(LOOKED_AT, len(source))).tolist():
        try:
            if (file := getattr(source, "file", None)) is not None:
                with open(file(index), "rb") as content:
                    header = read_header(content.read())
                sizes.append((header.height, header.width))
            else:
                sizes.append(source.image(index).shape[:2])
        except (OSError, ValueError, DecodeError):
            continue
    if not sizes:
        raise ConfigError.at("train", "none of the images looked at can be read")
    height, width = np.median(np.array(sizes), axis=0).astype(int).tolist()
    return height, width


def _is_largest(start: Start) -> bool:
    network = start.backbone
    return network.get("type") == "BiTResNet" and network.get("depth") == 152 and network.get("width") == 4


def _saved(steps: int) -> dict[str, Any]:
    """How often a run saves: a task drawn with replacement is a single epoch, at whose end alone it else would."""
    return {"every_epochs": None, "every_steps": max(50, steps // 20)}


def _micro_batch(model: dict[str, Any], side: int) -> int:
    """The largest power of two whose activations fit into every process's memory, at most a process's batch."""
    each = activation_bytes(model, side)
    most = max(1, BATCH // world_size())
    memory = min(gather_objects(device_memory(local_device(None))))  # all processes accumulate equally often
    fitting = max(1, int(USABLE * memory / each))
    return min(most, 1 << (fitting.bit_length() - 1))


def activation_bytes(model: dict[str, Any], side: int) -> int:
    """What one image of a side keeps for the backward pass of a method, in float32; nothing is computed."""
    seen: dict[int, int] = {}
    kept: list[Any] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept.append(storage)  # so that its address is not given to another
        seen[storage._cdata] = storage.nbytes()
        return tensor

    with torch.device("meta"):
        method: Method = METHODS.build(model)
        own = {parameter.untyped_storage()._cdata for parameter in method.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            method.backbone(torch.empty(2, 3, side, side))
    return max(1, sum(size for storage, size in seen.items() if storage not in own) // 2)
