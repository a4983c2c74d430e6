"""SimCLR's linear transfer: logistic regression on frozen features of twelve data sets.

Paper: Chen et al. 2020, arXiv:2002.05709, table 8 and appendix B.8: L-BFGS, 45 penalties from 1e-6 to 1e5 chosen on
val, no augmentation, no scaling of features; solved here to the same minimum by another method. Metrics are those of
the paper: mean per class for Aircraft, Pets, Caltech-101 and Flowers, 11-point mean average precision for VOC07 (by an
SVM for each class), top-1 for the others. SUN397 is split by the first of its ten official lists where they
are in its folder, Caltech-101 by us: 30 images of each class to learn from, the others are test.

Command: selfsup evaluate WEIGHTS --config eval/simclr_transfer
"""

_twelve = (
    "food101", "cifar10", "cifar100", "birdsnap", "sun397", "cars", "aircraft", "voc07", "dtd", "pets", "caltech101",
    "flowers",
)  # fmt: skip

tasks = {name: dict(type="StandardTask", set=name, root=f"data/{name}") for name in _twelve}
evaluators = dict(
    logistic=dict(type="LogisticRegression"),
    svm=dict(type="SVM", task="voc07"),
)
