"""SEER, RegNetY-64GF: seer_regnety128 with a smaller backbone.

Paper: Goyal et al. 2021, arXiv:2103.01988. Reported: 84.0 % ImageNet top-1 after fine-tuning at
384 px (README of the 2022 release). Not run here.

276,457,786 parameters in the backbone; widths (328, 984, 1968, 4920). Sized for 128 GPUs with 32 images each.

Command: tools/slurm_train.sh PARTITION seer configs/swav/seer_regnety64.py --data /path/to/images
"""

from mmengine.config import read_base

with read_base():
    from .seer_regnety128 import *

model.backbone.arch = "y_64gf"
