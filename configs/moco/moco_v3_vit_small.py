"""MoCo v3, ViT-Small, 300 epochs of ImageNet.

Paper: Chen et al. 2021, arXiv:2104.02057. Reported: 73.2 % ImageNet top-1, linear probe; 81.4 % fine-tuned (README and
CONFIG.md of facebookresearch/moco-v3, batch 4096). Not run here.

MoCo v3's ViT-Small has 12 heads, DeiT's and timm's has 6. The projection of the patches keeps its random weights, which
the paper found to steady the training; the position embedding is a fixed sine and cosine. Sized for 32 GPUs with 128
images each, with the heads' batch norm over all of them. The code also gives a command for batch 1024 on 8 GPUs, with
the same base rate, and its README calls the smaller batch steadier. It trains in fp16;
``optim_wrapper.precision=fp16`` is the same here. Weight decay is on all trained parameters, as there.

Command: tools/dist_train.sh configs/moco/moco_v3_vit_small.py 8 --auto-scale-lr
Own images: selfsup train moco/moco_v3_vit_small --data ~/photos --auto-scale-lr
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.imagenet import imagenet
    from .._base_.evals.imagenet import evaluators, tasks
    from .._base_.models.moco_v3 import model
    from .._base_.runtime import default_hooks

processes = 32
batch = 128 * processes  # 4096

model.backbone = dict(type="ViT", arch="small", num_heads=12, position="sincos", frozen_patch_projection=True)
model.neck.hidden_dims = (4096, 4096)
model.predictor.update(last_bn=True, last_bn_weight=False, last_bn_bias=False)
model.loss.temperature = 0.2

train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=8,
    dataset=imagenet.train,
    views=dict(type="MoCoViews", size=224, version=3, scale=(0.08, 1.0)),
    num_images=imagenet.num_images,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="AdamW", lr=1.5e-4 * batch / 256, weight_decay=0.1),  # 0.0024
)
param_scheduler = dict(type="WarmupCosine", warmup_epochs=40)
train_cfg = dict(max_epochs=300)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 20
sync_bn = "all"
