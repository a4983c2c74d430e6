"""In-domain, cross-domain, pooled and fused, on emoji of two artists.

Paper: Cole et al. 2022, arXiv:2105.05837, section 4.2, at another size. A domain is an artist's set of drawings; the
test emoji are in no training of either. Sized for two CPU cores.

Command: selfsup study studies/domain_scenes
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.scenes import evaluators, images, simclr, supervised, task

_of = {
    name: dict(
        type="Task",
        train=dict(task["train"], domains=(name,), variants=2),
        val=dict(task["val"], domains=(name,), variants=2),
        test=dict(task["test"], domains=(name,), variants=2),
    )
    for name in ("google", "twitter")
}

study = dict(
    name="domain_scenes",
    question="Does it matter which images are pretrained on, do pooled ones help, and fused representations?",
    seeds=3,
    axes=[
        dict(
            type="Domain",
            base=simclr,
            sources={name: dict(images, domains=(name,)) for name in ("google", "twitter")},
            tasks=_of,
            count=2_500,
            pooled=[("google", "twitter")],
            supervised=dict(google=supervised, twitter=supervised),
            fused=[("google", "twitter"), ("twitter", "google")],
            evaluators=evaluators,
        ),
    ],
)
