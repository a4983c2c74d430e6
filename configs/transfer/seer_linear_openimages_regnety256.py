"""SEER's linear classifier on the frozen RegNetY-256GF, on Open Images: on the pooled features.

Paper: Goyal et al. 2021, arXiv:2103.01988. Reported: the table could not be read. Not run here.

VISSL's linear_image_classification/openimages, and its models/regnet128Gf.yaml, for there is none for this network:
batch 1024, rate 0.003, a tenth of it after 2, 4 and 6 of 16 epochs; weight decay 1e-4, Nesterov momentum, crops and
flips; a linear layer without batch norm on the pooled features. Several classes an image: the loss is a sigmoid for
each. All training images of the data set, versions 4 to 6; a remark there speaks of 5.6 million.

``train.csv`` has a column ``path`` and a column ``label`` with the names of an image's classes, such as
``Tortoise;Plant``, as class-descriptions.csv has them. Scored by mean average precision over the 601 classes with
boxes: an image counts for the classes that people have verified in it, as shown or as not shown, and for no other. On
validation at the end of the training, on test by `selfsup test`. Over which classes and images the paper's mean goes
could not be read.

Sized for 64 GPUs with 16 images each.

Command: tools/dist_train.sh transfer/seer_linear_openimages_regnety256 64 --init-from work_dirs/seer_regnety256
"""

from mmengine.config import read_base

with read_base():
    from .seer_linear_imagenet_regnety256 import default_hooks, model, optim_wrapper, train_dataloader

processes = 64
batch = 16 * processes  # 1024

model.update(num_classes=9605, layers=("pooled",), bn=False, loss=dict(type="BinaryCrossEntropyLoss"))
train_dataloader.update(
    batch_size=batch // processes,
    dataset=dict(type="ImageList", root="data/openimages/train.csv", labels="column", label_separator=";"),
    num_images=9_011_219,
)
optim_wrapper.optimizer.update(lr=0.003, weight_decay=1e-4)
optim_wrapper.pop("param_groups")
tasks = dict(
    openimages=dict(
        type="Task",
        val=dict(type="Standard", name="openimages", root="data/openimages", split="validation"),
        test=dict(type="Standard", name="openimages", root="data/openimages", split="test"),
        metric="map",
    ),
)
evaluators = dict(head=dict(type="Head"))
evaluate_every = 0
default_hooks.evaluate = dict(max_images=41_620)  # all of validation
param_scheduler = dict(type="MultiStep", epochs=(2, 4, 6), factor=0.1)
train_cfg = dict(max_epochs=16)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
split = None
