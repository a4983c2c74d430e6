"""Projection head: none, linear, nonlinear and deeper, by output width, ResNet-50 on ImageNet.

Paper: Chen et al. 2020, arXiv:2002.05709, figure 8: 100 epochs, batch 4096; its values are not transcribed. Not run
here.

Command: selfsup study studies/heads_imagenet --launcher slurm
    --slurm nodes=4 tasks_per_node=8 gpus_per_node=8 timeout_min=1440
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.papers import ablation, evaluators, tasks

_widths = (32, 64, 128, 256, 512, 1024, 2048)
_heads = dict(
    none={"model.neck": dict(type="Identity")},
    linear={"model.neck.hidden_dims": ()},
    nonlinear={"model.neck.hidden_dims": (2048,)},
    deeper={"model.neck.hidden_dims": (2048, 2048)},
)

study = dict(
    name="heads_imagenet",
    question="Which projection head gives the best features before it?",
    seeds=1,
    axes=[
        dict(
            type="Grid",
            title="Projection heads",
            base=ablation,
            factors=dict(head=_heads, width={f"{width}": {"model.neck.out_dim": width} for width in _widths}),
            without=[dict(head="none", width=f"{width}") for width in _widths if width != 2048],  # as wide as features
            expected=[
                dict(
                    words="a nonlinear head beats a linear one",
                    ahead=dict(head="nonlinear", width="128"),
                    behind=dict(head="linear", width="128"),
                ),
                dict(
                    words="a linear head beats none",
                    ahead=dict(head="linear", width="2048"),
                    behind=dict(head="none", width="2048"),
                ),
            ],
            task=tasks["imagenet"],
            task_name="imagenet",
            evaluators=evaluators,
        ),
    ],
)
