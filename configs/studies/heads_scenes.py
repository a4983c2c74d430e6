"""Projection head: none, linear, nonlinear, by output width, on the embedded scenes.

Paper: Chen et al. 2020, arXiv:2002.05709, figure 8, at another size.

Command: selfsup study studies/heads_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.scenes import evaluators, images, simclr, task

_widths = (16, 64, 256)
_heads = dict(
    none={"model.neck": dict(type="Identity")},
    linear={"model.neck.hidden_dims": ()},
    nonlinear={"model.neck.hidden_dims": (256,)},
    deeper={"model.neck.hidden_dims": (256, 256)},
)

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
            factors=dict(head=_heads, width={f"{width}": {"model.neck.out_dim": width} for width in _widths}),
            without=[dict(head="none", width=f"{width}") for width in _widths if width != 256],  # as wide as features
            expected=[
                dict(
                    words=f"a nonlinear head beats a linear one at width {width}",
                    ahead=dict(head="nonlinear", width=width),
                    behind=dict(head="linear", width=width),
                )
                for width in ("16", "64", "256")
            ]
            + [
                dict(
                    words=f"a {head} head beats none at width 256",
                    ahead=dict(head=head, width="256"),
                    behind=dict(head="none", width="256"),
                )
                for head in ("linear", "nonlinear")
            ],
            task=task,
            task_name="category",
            evaluators=evaluators,
        ),
    ],
)
