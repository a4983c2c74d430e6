"""Fine-tuning: the whole network, or all of it above a stage, trained on with labels."""

from collections.abc import Mapping
from typing import Any, Literal

from selfsup.backbones.stages import stage_parts
from selfsup.config import Recipe
from selfsup.errors import ConfigError, require
from selfsup.registry import BACKBONES
from selfsup.transfer.labelled import Labelled
from selfsup.transfer.start import Start
from selfsup.transfer.transfer import Transfer, accumulated, batch_for, shown, stated

SMALL = 64
"""Side in pixels up to which crops keep two fifths of an image or more: there are no parts to tell apart."""
EVALUATIONS = 8


class FineTune(Transfer):
    """Train a pretrained network on with labels.

    Args:
        steps: optimizer updates; None for as many as ``epochs`` say.
        epochs: passes over the images.
        batch_size: at the most; half the images where there are fewer.
        micro_batch: images at a time on each process, at the most, which are accumulated to the batch; None for all.
        optimizer: dict from OPTIMIZERS.
        scheduler: dict from PARAM_SCHEDULERS; None for a cosine after a warm-up of 5 % of the run.
        lr_decay: layer-wise rates: each stage's is this fraction of the rate of what follows it, the head's is whole;
            1 for one rate.
        backbone_lr_scale: factor on the whole backbone's rate; SwAV's two rates.
        frozen_stages, batch_norm, ema, mixup_alpha, cutmix_alpha: see :class:`~selfsup.methods.Supervised`;
            ``batch_norm='sync'`` trains it over all processes.
        drop_path: share of the images whose residual branch is left out in the last block, falling to 0 in the first.
        label_smoothing: share of the targets that is spread over all classes.
        randaugment: ``(operations, magnitude)`` of RandAugment, after the crop and flip; None for none.
        neck: dict of layers of the pretraining head that are kept, see :class:`~selfsup.necks.HiddenLayers`.
        zero_init_head: whether the classifier starts at zero.
        size: side of the images in pixels; None for the weights'.
        scale: share of the area that crops keep; None by the size.
        jitter: of the colors.
        before: transforms that come first.
        choose: ``'best'`` keeps the step that is best on ``val``, where there is one, else the last; ``'last'``.
        precision: of the forward pass.
        num_workers: processes that decode.
        seed: of the run.
    """

    name = "fine-tune"

    def __init__(
        self,
        *,
        steps: int | None = None,
        epochs: int = 50,
        batch_size: int = 64,
        micro_batch: int | None = None,
        optimizer: Mapping[str, Any] | None = None,
        scheduler: Mapping[str, Any] | None = None,
        lr_decay: float = 1.0,
        backbone_lr_scale: float = 1.0,
        frozen_stages: int | None = None,
        batch_norm: Literal["train", "frozen", "sync"] = "train",
        ema: float | None = None,
        mixup_alpha: float = 0.0,
        cutmix_alpha: float = 0.0,
        drop_path: float = 0.0,
        label_smoothing: float = 0.0,
        randaugment: tuple[int, int] | None = None,
        neck: Mapping[str, Any] | None = None,
        zero_init_head: bool = True,
        size: int | None = None,
        scale: tuple[float, float] | None = None,
        jitter: float = 0.1,
        before: tuple[Mapping[str, Any], ...] = (),
        choose: Literal["best", "last"] = "best",
        precision: str = "auto",
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        require(micro_batch is None or micro_batch >= 1, "micro_batch", "must be >= 1", got=micro_batch)
        require(0 < lr_decay <= 1, "lr_decay", "must be in (0, 1]", got=lr_decay)
        self.steps = steps
        self.epochs = epochs
        self.batch_size = batch_size
        self.micro_batch = micro_batch
        self.optimizer = optimizer or {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.05}
        self.scheduler = scheduler
        self.lr_decay = lr_decay
        self.backbone_lr_scale = backbone_lr_scale
        self.frozen_stages = frozen_stages
        self.batch_norm = batch_norm
        self.ema = ema
        self.mixup_alpha = mixup_alpha
        self.cutmix_alpha = cutmix_alpha
        self.drop_path = drop_path
        self.label_smoothing = label_smoothing
        self.randaugment = randaugment
        self.neck = neck
        self.zero_init_head = zero_init_head
        self.size = size
        self.scale = scale
        self.jitter = jitter
        self.before = before
        self.choose = choose
        self.precision = precision
        self.num_workers = num_workers
        self.seed = seed

    def recipe(self, start: Start, data: Labelled) -> Recipe:
        """See :class:`~selfsup.transfer.transfer.Transfer`."""
        images = len(data.source)
        batch = batch_for(images, self.batch_size)
        micro, accumulate = accumulated(batch, self.micro_batch)
        steps = self.steps or max(1, self.epochs * (images // batch))
        contract = shown(start, self.size)
        if contract.size is None:
            raise ConfigError.at("size", "the card does not say how large images are shown", expected="give size")
        config: dict[str, Any] = {
            "model": self.model(start, data),
            "train_dataloader": {
                "batch_size": micro,
                "dataset": data.train,
                "views": self.views(contract.size, contract.interpolation or "bilinear"),
                **({} if self.num_workers is None else {"num_workers": self.num_workers}),
            },
            "optim_wrapper": {
                "precision": self.precision,
                "optimizer": dict(self.optimizer),
                **({} if accumulate == 1 else {"accumulative_counts": accumulate}),
            },
            "param_scheduler": dict(self.scheduler or {"type": "WarmupCosine", "warmup_steps": max(1, steps // 20)}),
            "train_cfg": {"max_steps": steps},
            "sync_bn": "all" if self.batch_norm == "sync" else None,
            **watched(data, steps, choose=self.choose),
            "input_contract": stated(contract),
            "load_from": None if start.file is None else str(start.file),
            "recipe": self.name,
            "seed": self.seed,
        }
        if groups := self.param_groups(start.backbone):
            config["optim_wrapper"]["param_groups"] = groups
        return Recipe.from_dict({key: value for key, value in config.items() if value is not None} | {"split": None})

    def model(self, start: Start, data: Labelled) -> dict[str, Any]:
        """The method."""
        given = {
            "neck": None if self.neck is None else dict(self.neck),
            "mixup_alpha": self.mixup_alpha or None,
            "cutmix_alpha": self.cutmix_alpha or None,
            "frozen_stages": self.frozen_stages,
            "batch_norm": "frozen" if self.batch_norm == "frozen" else None,
            "ema": self.ema,
        }
        loss: dict[str, Any] = {"type": "CrossEntropyLoss"}
        if self.label_smoothing:
            loss["label_smoothing"] = self.label_smoothing
        return {
            "type": "Supervised",
            "backbone": self.backbone(start),
            "num_classes": len(data.classes),
            "loss": loss,
            "zero_init_head": self.zero_init_head,
            "preprocess": start.normalization,
            **{name: value for name, value in given.items() if value is not None},
        }

    def backbone(self, start: Start) -> dict[str, Any]:
        """The network, with its drop path where that is wanted."""
        if not self.drop_path:
            return start.backbone
        if start.backbone["type"] != "Timm":
            return {**start.backbone, "drop_path": self.drop_path}
        args = {**(start.backbone.get("model_args") or {}), "drop_path_rate": self.drop_path}
        return {**start.backbone, "model_args": args}

    def views(self, size: int, interpolation: str) -> dict[str, Any]:
        """What a training image becomes."""
        scale = self.scale or ((0.4, 1.0) if size <= SMALL else (0.25, 1.0))
        transforms: list[dict[str, Any]] = [
            {"type": "RandomResizedCrop", "size": size, "scale": scale, "interpolation": interpolation},
            {"type": "RandomHorizontalFlip"},
        ]
        if self.jitter:
            jitter = self.jitter
            transforms.append(
                {
                    "type": "ColorJitter",
                    "brightness": jitter,
                    "contrast": jitter,
                    "saturation": jitter,
                    "hue": jitter,
                    "p": 1.0,
                }
            )
        if self.randaugment is not None:
            operations, magnitude = self.randaugment
            transforms.append({"type": "RandAugment", "operations": operations, "magnitude": magnitude})
        return {"type": "MultiView", "pipelines": [{"transforms": transforms}], "before": list(self.before)}

    def param_groups(self, backbone: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Rates of the backbone's stages, the stem's first."""
        if self.lr_decay == 1 and self.backbone_lr_scale == 1:
            return []
        if self.lr_decay == 1:
            return [{"match": "backbone.*", "lr_scale": self.backbone_lr_scale}]
        parts = stage_parts(BACKBONES.build(dict(backbone)))
        return [
            {
                "match": [pattern for name in names for pattern in (f"backbone.{name}", f"backbone.{name}.*")],
                "lr_scale": self.backbone_lr_scale * self.lr_decay ** (len(parts) - stage),
            }
            for stage, names in enumerate(parts)
            if names
        ]

    def about(self) -> dict[str, Any]:
        """See :class:`~selfsup.transfer.transfer.Transfer`."""
        return {"transfer": self.name, "frozen_stages": self.frozen_stages, "seed": self.seed}


def watched(data: Labelled, steps: int, *, choose: str) -> dict[str, Any]:
    """What is evaluated during a transfer: its head on ``val``, which may choose the step; nothing without ``val``."""
    if data.val is None:
        hooks: dict[str, Any] = {"evaluate": None}
        return {"tasks": {data.name: data.task_section()}, "default_hooks": {**hooks, **QUIET}}
    hook: dict[str, Any] = {"every_steps": max(1, -(-steps // EVALUATIONS))}
    if choose == "best":
        hook |= {"type": "BestStepHook", "every_epochs": None}
    return {
        "tasks": {data.name: data.task_section()},
        "evaluators": {"head": {"type": "Head"}},
        "evaluate_every": 0,
        "default_hooks": {"evaluate": hook, **QUIET},
    }


QUIET: dict[str, Any] = {"pictures": None, "collapse": None}
"""Hooks that look at what pretraining is after."""
