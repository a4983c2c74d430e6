"""ObjectNet's 113 classes that are ImageNet's too, the whole images and what lies in a box of them.

Protocol: SimCLR's logistic regression on the frozen features of a tenth of ImageNet; an image is right if one of the
ImageNet classes that its class stands for has the greatest logit of all 1,000. ObjectNet comes without boxes:
``data/objectnet/boxes.csv`` has the columns name, left, top, right and bottom. Kolesnikov et al. 2020,
arXiv:1912.11370, table 6, show 480 pixels cut from 512 to a classifier of theirs, without learning anew: state that in
the ``input_contract`` of a config of yours, with ``ClassSubset(mapping=...)`` as evaluator of ``selfsup test``. Source:
Barbu et al. 2019.

Command: selfsup evaluate WEIGHTS --config eval/objectnet
"""

_images = dict(type="Standard", name="objectnet", root="data/objectnet", split="test")

tasks = dict(
    objectnet=dict(
        type="Task",
        train=dict(type="Standard", name="imagenet", root="data/imagenet", split="train"),
        test=dict(plain=_images, boxes=dict(type="BoxCrops", dataset=_images, boxes="data/objectnet/boxes.csv")),
        max_train=128_116,
    )
)
evaluators = dict(
    logistic=dict(type="ClassSubset", mapping="data/objectnet/mappings", probe=dict(type="LogisticRegression"))
)
