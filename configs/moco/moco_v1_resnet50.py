"""MoCo v1, ResNet-50, 200 epochs of ImageNet.

Paper: He et al. 2019, arXiv:1911.05722. Reported: 60.6 % ImageNet top-1, linear probe, for the released weights; 60.8 %
(deviation 0.2) over five runs of the released code (README of facebookresearch/moco). Not run here.

Sized for 8 GPUs with 32 images each; the released code's float32 is ``optim_wrapper.precision=fp32``. Batch norm is
each process's own: the teacher's images are shuffled over the processes instead. The queue must hold whole batches of
all processes: a batch that does not divide 65,536 needs another ``model.queue_length``. Epochs are whole passes of
5,004 updates, as in the code.

Command: tools/dist_train.sh configs/moco/moco_v1_resnet50.py 8
Own images: selfsup train moco/moco_v1_resnet50 --data ~/photos --auto-scale-lr
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.imagenet import imagenet
    from .._base_.evals.imagenet import evaluators, tasks
    from .._base_.models.moco_resnet50 import model
    from .._base_.runtime import default_hooks

processes = 8
batch = 32 * processes  # 256

train_dataloader = dict(
    batch_size=batch // processes,
    num_workers=4,
    dataset=imagenet.train,
    views=dict(type="MoCoViews", size=224, version=1),
    num_images=imagenet.num_images,
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.03 * batch / 256, momentum=0.9, weight_decay=1e-4),  # biases and batch norm too
)
param_scheduler = dict(type="MultiStep", epochs=(120, 160), factor=0.1)
train_cfg = dict(max_epochs=200)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
evaluate_every = 20
