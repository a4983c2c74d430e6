"""SEER, RegNetY-128GF: the largest of the sizes that the paper trains at a constant learning rate.

Paper: Goyal et al. 2021, arXiv:2103.01988. Reported: 83.8 % ImageNet top-1 after fine-tuning, 76.7 % with 10 % and
57.5 % with 1 % of the labels. Not run here.

637,419,894 parameters in the backbone; widths (528, 1056, 2904, 7392).

Sized for 128 GPUs with 32 images each, as the name of the released checkpoint says (bs32, 16 nodes of 8). The learning
rate is constant and halved when the loss stops falling. The paper gives neither its value nor the rule in numbers: 4.8
follows from its linear rule, 0.3 per 256 images; warm-up, window, patience and improvement are ours.

Command: tools/slurm_train.sh PARTITION seer configs/swav/seer_regnety128.py --data /path/to/images
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.unlabelled import unlabelled
    from .._base_.evals.own_images import evaluators
    from .._base_.models.seer import model
    from .._base_.runtime import default_hooks

model.backbone.arch = "y_128gf"

processes = 128
batch = 32 * processes  # 4096

train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=unlabelled,
    views=dict(type="SwAVViews", sizes=(224, 96), counts=(2, 4), scales=((0.14, 1.0), (0.05, 0.14))),
    num_images=1_000_000_000,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(
        type="LARS",
        variant="larc",
        lr=0.3 * batch / 256,  # 4.8
        momentum=0.9,
        weight_decay=1e-5,  # on biases and batch norm too
        trust_coefficient=0.001,
    ),
    freeze=dict(prototypes=313),
)
param_scheduler = dict(
    type="HalveOnPlateau",
    start_lr=0.3,
    warmup_steps=9_000,
    window=1_000,
    patience_steps=5_000,
    min_improvement=0.001,
)
train_cfg = dict(max_steps=1_000_000_000 // batch)  # one pass: 244,140
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
sync_bn = 64
default_hooks.checkpoint.every_steps = 1_000
