"""Average precision on the 5,000 images of COCO's val2017."""

tasks = dict(
    coco=dict(
        type="Task",
        test=dict(
            type="CocoDetection", annotations="data/coco/annotations/instances_val2017.json", root="data/coco/val2017"
        ),
    ),
)
evaluators = dict(detection=dict(type="DetectionAP", replicates=200))
