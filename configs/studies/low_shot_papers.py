"""Capacity x (scratch | pretrained) x labels: SEER's networks on ImageNet, and its shares of Places205.

Paper: Goyal et al. 2021, arXiv:2103.01988, section 4. Weights are expected where the recipes leave them: SEER's from
swav/seer_regnety*, the supervised RegNetY-128GF from a recipe of one's own. The shares of Places205 are 1, 5, 10, 20
and 50 % of its 2,448,873 images; which ones the paper drew could not be read. Not run here.

Command: selfsup study studies/low_shot_papers --launcher slurm
    --slurm nodes=4 tasks_per_node=8 gpus_per_node=8 timeout_min=2880
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.papers import evaluators, imagenet, tasks

_networks = {f"RegNetY-{size}GF": {"model.backbone.arch": f"y_{size}gf"} for size in (8, 16, 32, 64, 128, 256)}
_places205 = dict(type="StandardTask", set="places205", root="data/places205")
_all = 2_448_873

study = dict(
    name="low_shot_papers",
    question="Do larger networks need fewer labels, and do SEER's features beat supervised ones on Places205?",
    seeds=1,
    axes=[
        dict(
            type="Capacity",
            base=dict(config="supervised/supervised_regnety16"),
            networks=_networks,
            labels=(12_811, 128_116, 1.0),
            labelled=imagenet,
            num_classes=1000,
            classifier=dict(steps=35_000, lr=0.05),
            weights=dict(
                SEER={
                    name: f"work_dirs/seer_{name.removesuffix('GF').replace('RegNetY-', 'regnety')}"
                    for name in _networks
                }
            ),
            task=tasks["imagenet"],
            task_name="imagenet",
            evaluators=evaluators,
            published=[
                dict(x="12,811", series="RegNetY-128GF, SEER, fine-tune", value=0.575),
                dict(x="128,116", series="RegNetY-128GF, SEER, fine-tune", value=0.767),
                dict(x="all", series="RegNetY-128GF, SEER, fine-tune", value=0.838),
                dict(x="12,811", series="RegNetY-256GF, SEER, fine-tune", value=0.605),
                dict(x="128,116", series="RegNetY-256GF, SEER, fine-tune", value=0.779),
                dict(x="all", series="RegNetY-256GF, SEER, fine-tune", value=0.842),
            ],
            source="Goyal et al. 2021, arXiv:2103.01988: 1 %, 10 % and all of ImageNet's labels, fine-tuned as a whole",
        ),
        dict(
            type="Capacity",
            base=dict(config="supervised/supervised_regnety16"),
            networks={"RegNetY-128GF": _networks["RegNetY-128GF"]},
            labels=(*(round(share * _all) for share in (0.01, 0.05, 0.1, 0.2, 0.5)), 1.0),
            ways=("linear",),
            weights=dict(
                SEER={"RegNetY-128GF": "work_dirs/seer_regnety128"},
                supervised={"RegNetY-128GF": "work_dirs/supervised_regnety128"},
            ),
            task=_places205,
            task_name="places205",
            evaluators=evaluators,
            published=[dict(x="all", series="RegNetY-128GF, supervised, linear", value=0.627)],
            source="Goyal et al. 2021, arXiv:2103.01988, as listed by Papers with Code",
        ),
    ],
)
