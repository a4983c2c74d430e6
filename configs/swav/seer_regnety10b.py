"""SEER, RegNetY-10B: ten billion parameters, split over the processes.

Paper: Goyal et al. 2022, arXiv:2202.08360. Reported: 85.8 % ImageNet top-1, 84.7 % iNaturalist 2018 and 69.0 %
Places205 after fine-tuning at 384 px, 79.8 % ImageNet by linear probe. Not run here.

9,323,934,872 parameters in the backbone: depth 27, w_0 1744, w_a 620.83, w_m 2.52, group width 1010; widths (2020,
4040, 11110, 28280). With the head 28280-8192-8192-256, without batch norm, and 16,000 prototypes: 9,628,923,288.

Every number is that of VISSL's regnet10B.yaml on top of its swav_8node_resnet.yaml, two of them by way of its code:
the warm-up starts at 0.3 times the images of one 8-GPU node over 256, and ``interval_scaling: [rescaled, fixed]``
reads the cosine at the progress of the whole run, so that the rate falls from 9.3 to 9.26 where the warm-up ends;
``param_scheduler.seam=rebased`` begins the cosine there instead. Batch norm is synchronized over all processes.
Different here: bf16 instead of fp16, which needs no loss scaling, and stage 4 is checkpointed too, or else autocast's
copies of its weights would stay until the backward pass.

Sized for 496 GPUs with 16 images each; the authors' had 40 GB. Memory of one of them, computed and not measured:
weights, gradients and momentum in float32 are 9.63e9 x 12 bytes / 496 = 0.23 GB. The largest block that is gathered
whole is stage 4, 1,842,586,178 parameters: weights and gradients of 7.4 GB each and autocast's copies of 3.7 GB, 18.4
GB while its backward pass runs; the blocks of stage 3 need 4.1 GB. Inputs kept by checkpointing: 36.9 million values
for an image of 160 px and 13.3 for one of 96, 4.1 GB in bf16. On one process: 116 GB before the first activation. Of
the hosts, the first needs 39 GB to build and 77 GB to save.

Command: NODES=62 tools/slurm_train.sh PARTITION seer configs/swav/seer_regnety10b.py --data /path/to/images
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.unlabelled import unlabelled
    from .._base_.evals.own_images import evaluators
    from .._base_.models.seer import model
    from .._base_.runtime import default_hooks

model.backbone.arch = "y_10b"
model.loss.epsilon = 0.03

nodes = 62
processes = 8 * nodes  # 496
batch = 16 * processes  # 7936

train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=unlabelled,
    views=dict(type="SwAVViews", sizes=(160, 96), counts=(2, 4), scales=((0.14, 1.0), (0.05, 0.14))),
    num_images=1_000_000_000,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(
        type="LARS",
        variant="larc",
        lr=0.3 * batch / 256,  # 9.3
        momentum=0.9,
        weight_decay=1e-5,  # on biases and batch norm too
        trust_coefficient=0.001,
    ),
    freeze=dict(prototypes=313),
)
param_scheduler = dict(
    type="WarmupCosine",
    start_lr=0.3 * batch / nodes / 256,  # 0.15
    warmup_steps=5_500,  # 0.043648 of the run
    end_lr=0.3 * batch / 256 / 1000,
    seam="vissl_fixed",
)
train_cfg = dict(max_steps=1_000_000_000 // batch)  # one pass: 126,008
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
sync_bn = "all"
sharding = dict(min_parameters=1_000_000)
default_hooks.checkpoint.every_steps = 1_000
