"""Batch size x epochs, on the embedded scenes.

Paper: Chen et al. 2020, arXiv:2002.05709, figure 9, at another size. The learning rate follows the square root of the
batch.

Command: selfsup study studies/batch_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.scenes import evaluators, images, simclr, task

study = dict(
    name="batch_scenes",
    question="Do larger batches help, and do they still when training is longer?",
    seeds=3,
    axes=[
        dict(
            type="Grid",
            title="Batch size and epochs",
            base=simclr,
            images=images,
            factors=dict(
                epochs={f"{epochs}": {"train_cfg.max_epochs": epochs} for epochs in (1, 3)},
                batch={
                    f"{batch}": {
                        "train_dataloader.batch_size": batch,
                        "optim_wrapper.optimizer.lr": 2e-3 * (batch / 128) ** 0.5,
                        "param_scheduler.warmup_steps": 10,
                    }
                    for batch in (32, 128, 512)
                },
            ),
            expected=[
                dict(
                    words=f"batches of 512 beat 32 after {epochs} epochs",
                    ahead=dict(epochs=epochs, batch="512"),
                    behind=dict(epochs=epochs, batch="32"),
                )
                for epochs in ("1", "3")
            ],
            task=task,
            task_name="category",
            evaluators=evaluators,
        ),
    ],
)
