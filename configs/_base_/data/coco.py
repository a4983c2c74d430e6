"""COCO 2017: 118,287 training images, 80 categories."""

coco = dict(
    train=dict(
        type="CocoDetection", annotations="data/coco/annotations/instances_train2017.json", root="data/coco/train2017"
    ),
)
