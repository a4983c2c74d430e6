"""Capacity x data x schedule, supervised, BiT's ResNets on a tenth of ImageNet and all of it.

Paper: Kolesnikov et al. 2020, arXiv:1912.11370, section 4.1, which goes from ImageNet to larger sets. Not run here.

Command: selfsup study studies/capacity_imagenet --launcher slurm
    --slurm nodes=4 tasks_per_node=8 gpus_per_node=8 timeout_min=1440
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.papers import evaluators, imagenet, tasks

study = dict(
    name="capacity_imagenet",
    question="Do larger networks gain where smaller ones do not?",
    seeds=1,
    axes=[
        dict(
            type="Grid",
            title="Capacity, data and schedule",
            base=dict(config="bit/bit_s_resnet50"),
            factors=dict(
                data={
                    "a tenth": {"train_dataloader.dataset": dict(type="Subset", dataset=imagenet, fraction=0.1)},
                    "all": {"train_dataloader.dataset": imagenet},
                },
                epochs={
                    f"{epochs}": {
                        "train_cfg.max_epochs": epochs,
                        "param_scheduler.epochs": [epochs // 3, 2 * epochs // 3, 8 * epochs // 9],
                    }
                    for epochs in (90, 270)
                },
                network={
                    "R50x1": {"model.backbone.depth": 50, "model.backbone.width": 1},
                    "R50x3": {"model.backbone.depth": 50, "model.backbone.width": 3},
                    "R101x3": {"model.backbone.depth": 101, "model.backbone.width": 3},
                },
            ),
            expected=[
                dict(
                    words=f"R101x3 beats R50x1 after {epochs} epochs on {data} of the images",
                    ahead=dict(data=data, epochs=epochs, network="R101x3"),
                    behind=dict(data=data, epochs=epochs, network="R50x1"),
                )
                for data in ("a tenth", "all")
                for epochs in ("90", "270")
            ],
            task=tasks["imagenet"],
            task_name="imagenet",
            evaluators=evaluators,
        ),
    ],
)
