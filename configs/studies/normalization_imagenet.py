"""Batch or group norm, with and without weight standardization, x batch size: BiT's ResNet-50 on ImageNet.

Paper: Kolesnikov et al. 2020, arXiv:1912.11370, table 4, batch 4096. Batches are per process: start it where 32
processes take part, or change them. Not run here.

Command: selfsup study studies/normalization_imagenet --launcher slurm
    --slurm nodes=4 tasks_per_node=8 gpus_per_node=8 timeout_min=1440
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.factors import norms, norms_expected
    from .._base_.studies.papers import evaluators, tasks

study = dict(
    name="normalization_imagenet",
    question="Which normalization, and does the batch matter to it?",
    seeds=1,
    axes=[
        dict(
            type="Grid",
            title="Normalization and batch size",
            base=dict(config="bit/bit_s_resnet50"),
            factors=dict(
                norm=norms,
                batch={
                    f"{batch}": {
                        "train_dataloader.batch_size": batch // 32,
                        "optim_wrapper.optimizer.lr": 0.03 * batch / 256,
                        "auto_scale_lr": None,
                    }
                    for batch in (128, 1024, 4096)
                },
            ),
            shows="norm",
            expected=norms_expected("128", "4096"),
            task=tasks["imagenet"],
            task_name="imagenet",
            evaluators=evaluators,
            published=[
                dict(x=norm, series="4096", value=value)
                for norm, value in {"BN": 0.756, "BN + WS": 0.758, "GN": 0.702, "GN + WS": 0.760}.items()
            ],
            source="Kolesnikov et al. 2020, arXiv:1912.11370, table 4, ResNet-50x1, batch 4096, the classifier's own "
            "accuracy",
        ),
    ],
)
