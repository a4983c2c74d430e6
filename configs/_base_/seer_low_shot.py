"""SEER's fine-tuning on few labels, as VISSL's semi_supervised configs have it for RegNetY-256GF; recipes choose them.

Two nodes of 8 GPUs with 8 images each, batch norm synchronized over 8 of them. 70 epochs, rate 0.05 for 256 images and
a tenth of it after 30 epochs, no weight decay, Nesterov momentum, crops and flips.
"""

processes = 16
batch = 8 * processes  # 128

train_dataloader = dict(
    batch_size=batch // processes, num_workers=8, views=dict(type="SupervisedViews", size=224, jitter=0.0)
)
optim_wrapper = dict(
    type="PrecisionOptimWrapper",
    precision="auto",
    optimizer=dict(type="SGD", lr=0.05 * batch / 256, momentum=0.9, nesterov=True, weight_decay=0.0),
)
param_scheduler = dict(type="MultiStep", epochs=(30,), factor=0.1)
train_cfg = dict(max_epochs=70)
auto_scale_lr = dict(base_batch_size=batch, rule="linear")
sync_bn = 8
