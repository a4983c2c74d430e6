"""Accuracy from kingdom to species, SimCLR against supervised, on iNaturalist 2021.

Paper: Cole et al. 2022, arXiv:2105.05837, section 4.4, figure 5. Not run here.

Command: selfsup study studies/granularity_inat2021 --launcher slurm
    --slurm nodes=4 tasks_per_node=8 gpus_per_node=8 timeout_min=2880
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.papers import inat2021, simclr, supervised, tasks

study = dict(
    name="granularity_inat2021",
    question="How does accuracy fall as classes become finer, with and without labels in pretraining?",
    seeds=1,
    axes=[
        dict(
            type="GranularityAxis",
            methods=dict(
                SimCLR=simclr,
                supervised=dict(supervised, options={**supervised["options"], "model.num_classes": 10_000}),
            ),
            images=inat2021,
            levels=("kingdom", "phylum", "taxonomic class", "order", "family", "genus"),
            breakdown="taxonomic class",
            task=dict(tasks["inat2021"], hierarchy="source"),
            task_name="inat2021",
        ),
    ],
)
