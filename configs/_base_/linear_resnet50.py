"""A linear classifier on a frozen ResNet-50, on all of ImageNet with crops and flips; recipes choose the rest."""

model = dict(
    type="LinearHeads",
    backbone=dict(type="ResNet", depth=50),
    num_classes=1000,
    loss=dict(type="CrossEntropyLoss"),
    preprocess=dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)
train_dataloader = dict(
    num_workers=8,
    dataset=dict(type="ImageList", root="data/imagenet/train", labels="folder"),
    views=dict(type="SupervisedViews", size=224, jitter=0.0),
    num_images=1_281_167,
)
