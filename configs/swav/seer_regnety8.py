"""SEER, RegNetY-8GF: seer_regnety128 with a smaller backbone.

Paper: Goyal et al. 2021, arXiv:2103.01988. Reported: nothing that could be read for this size,
so it comes without a number. Not run here.

37,163,068 parameters in the backbone; widths (168, 448, 896, 2016). Sized for 128 GPUs with 32 images each.

Command: tools/slurm_train.sh PARTITION seer configs/swav/seer_regnety8.py --data /path/to/images
"""

from mmengine.config import read_base

with read_base():
    from .seer_regnety128 import *

model.backbone.arch = "y_8gf"
