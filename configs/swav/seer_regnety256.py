"""SEER, RegNetY-256GF: SwAV on a billion uncurated images in one pass.

Paper: Goyal et al. 2021, arXiv:2103.01988, sections 3 and 4. Reported: 84.2 % ImageNet top-1 after fine-tuning, 77.9 %
with 10 % and 60.5 % with 1 % of the labels. Not run here beyond single steps; see model_zoo.md.

The backbone is VISSL's regnet256Gf_1: depth 27, w_0 640, w_a 230.83, w_m 2.53, group width 373, which gives widths
(746, 1492, 4103, 10444) and 1,272,156,138 parameters. The widths (528, 1056, 2904, 7392) often quoted for this model
are RegNetY-128GF's. With the head 10444-8192-8192-256, without batch norm, and 16,000 prototypes: 1,431,032,042
parameters.

Sized for 512 GPUs with 16 images each. The paper used Apex O1 (fp16); bf16 needs no loss scaling and runs on CPUs too,
``optim_wrapper.precision=fp16`` is the paper's. Batch norm is synchronized over groups of 64 processes.

Command: tools/slurm_train.sh PARTITION seer configs/swav/seer_regnety256.py --data /path/to/images
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.unlabelled import unlabelled
    from .._base_.evals.own_images import evaluators
    from .._base_.models.seer import model
    from .._base_.runtime import default_hooks

model.backbone.arch = "y_256gf"

processes = 512
batch = 16 * processes  # 8192

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
        lr=0.3 * batch / 256,  # 9.6
        momentum=0.9,
        weight_decay=1e-5,  # on biases and batch norm too
        trust_coefficient=0.001,
    ),
    freeze=dict(prototypes=313),
)
param_scheduler = dict(type="WarmupCosine", start_lr=0.15, warmup_steps=9_000, end_lr=0.0096)
train_cfg = dict(max_steps=122_000)  # 1e9 images / 8192 = 122,070
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
sync_bn = 64
default_hooks.checkpoint.every_steps = 1_000
