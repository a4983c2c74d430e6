"""Projection head: none, linear, nonlinear, by output width, on the embedded scenes.

Paper: Chen et al. 2020, arXiv:2002.05709, figure 8, at another size.

Command: selfsup study studies/heads_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.scenes import evaluators, images, simclr, task

_kinds = dict(linear=(), nonlinear=(256,), deeper=(256, 256))

study = dict(
    name="heads_scenes",
    question="Which projection head gives the best features before it?",
    seeds=3,
    axes=[
        dict(
            type="Grid",
            title="Projection heads",
            base=simclr,
            images=images,
            factors=dict(
                head={name: {"model.neck.hidden_dims": hidden} for name, hidden in _kinds.items()},
                width={f"{width}": {"model.neck.out_dim": width} for width in (16, 64, 256)},
            ),
            expected=[
                dict(
                    words=f"a nonlinear head beats a linear one at width {width}",
                    ahead=dict(head="nonlinear", width=width),
                    behind=dict(head="linear", width=width),
                )
                for width in ("16", "64", "256")
            ],
            task=task,
            task_name="category",
            evaluators=evaluators,
        ),
    ],
)
