"""Batch size x epochs, ResNet-50 on ImageNet.

Paper: Chen et al. 2020, arXiv:2002.05709, figure 9; its values are not transcribed. The learning rate follows the
batch. Batches are per process: start it where 32 processes take part, or change them. Not run here.

Command: selfsup study studies/batch_imagenet --launcher slurm
    --slurm nodes=4 tasks_per_node=8 gpus_per_node=8 timeout_min=1440
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.papers import evaluators, tasks

study = dict(
    name="batch_imagenet",
    question="Do larger batches help, and do they still when training is longer?",
    seeds=1,
    axes=[
        dict(
            type="Grid",
            title="Batch size and epochs",
            base=dict(config="simclr/simclr_resnet50"),
            factors=dict(
                epochs={f"{epochs}": {"train_cfg.max_epochs": epochs} for epochs in (100, 200, 400, 800)},
                batch={
                    f"{batch}": {
                        "train_dataloader.batch_size": batch // 32,
                        "optim_wrapper.optimizer.lr": 0.3 * batch / 256,
                        "auto_scale_lr": None,
                    }
                    for batch in (256, 512, 1024, 2048, 4096, 8192)
                },
            ),
            expected=[
                dict(
                    words="batches of 4096 beat 256 after 100 epochs",
                    ahead=dict(epochs="100", batch="4096"),
                    behind=dict(epochs="100", batch="256"),
                ),
            ],
            task=tasks["imagenet"],
            task_name="imagenet",
            evaluators=evaluators,
        ),
    ],
)
