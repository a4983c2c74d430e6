"""SimCLR's 7 x 7 matrix of augmentations, ResNet-50 on ImageNet.

Paper: Chen et al. 2020, arXiv:2002.05709, figure 5: 100 epochs, batch 4096; its values are not transcribed. Not run
here.

Command: selfsup study studies/augmentations_imagenet --launcher slurm
    --slurm nodes=4 tasks_per_node=8 gpus_per_node=8 timeout_min=1440
"""

from mmengine.config import read_base

with read_base():
    from .._base_.studies.papers import ablation, evaluators, tasks

study = dict(
    name="augmentations_imagenet",
    question="Is crop + color the best pair of augmentations?",
    seeds=1,
    axes=[dict(type="Pairs", base=ablation, task=tasks["imagenet"], task_name="imagenet", evaluators=evaluators)],
)
