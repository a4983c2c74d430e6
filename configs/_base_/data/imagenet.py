"""ImageNet-1k as the usual folders of classes; pretraining never looks at the labels."""

imagenet = dict(
    num_images=1_281_167,
    train=dict(type="ImageList", root="data/imagenet/train", labels="folder"),
    val=dict(type="ImageList", root="data/imagenet/val", labels="folder"),
)
