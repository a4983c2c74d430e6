"""What the studies on the papers' data share: ResNet-50, SimCLR v2's settings, official splits as test.

Batches are those of 32 processes, as in the commands of the studies. The folders below data/ are those of
docs/evaluation.md; sizes and layouts are checked before anything is trained.
"""

imagenet = dict(type="Standard", name="imagenet", root="data/imagenet", split="train")
places365 = dict(type="Standard", name="places365", root="data/places365", split="train")
inat2021 = dict(type="Standard", name="inat2021", root="data/inat2021", split="train")
glc20 = dict(type="Standard", name="glc20", root="data/glc20", split="train")
tasks = dict(
    imagenet=dict(type="StandardTask", set="imagenet", root="data/imagenet"),
    places365=dict(type="StandardTask", set="places365", root="data/places365"),
    inat2021=dict(type="StandardTask", set="inat2021", root="data/inat2021"),
    glc20=dict(type="StandardTask", set="glc20", root="data/glc20"),
)
evaluators = dict(linear=dict(type="LinearProbe"))

simclr = dict(config="simclr/simclr_v2_resnet50")
ablation = dict(config="simclr/simclr_resnet50", options={"train_cfg.max_epochs": 100})  # of the paper's appendix
_batch = {"auto_scale_lr.base_batch_size": 1024}  # of 32 processes; the rates go with it
moco = dict(config="moco/moco_v2_resnet50", options={"optim_wrapper.optimizer.lr": 0.12, **_batch})
byol = dict(config="byol/byol_resnet50", options={"train_dataloader.batch_size": 128})
supervised = dict(config="supervised/supervised_resnet50", options={"optim_wrapper.optimizer.lr": 0.4, **_batch})
