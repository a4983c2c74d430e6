"""SEER, RegNetY-256GF, as it was trained: on shards of images that come and go, in one pass.

Paper: Goyal et al. 2021, arXiv:2103.01988, section 4: images are kept for 90 days at most, so that the data are
refreshed while the model trains. Reported: as for ``seer_regnety256``, whose recipe this is. Not run here.

Sized for 512 GPUs with 16 images each. ``data/stream`` is a folder to which finished WebDataset tars are added, and
from which old ones are taken away; the log says which images were the run's. Nothing is evaluated on the way, for no
image may be looked at twice.

Command: tools/slurm_train.sh PARTITION seer configs/swav/seer_regnety256_stream.py
"""

from mmengine.config import read_base

with read_base():
    from .seer_regnety256 import *

train_dataloader.dataset = dict(
    type="ShardStream",
    root="data/stream",
    log="work_dirs/seer_regnety256_stream_generations.jsonl",
    num_images=1_000_000_000,
    shards_at_once=64,
    when_empty="wait",
)
evaluators = {}
default_hooks.evaluate = None
default_hooks.collapse = None
default_hooks.pictures = None
split = None
