"""VOC07 classification with linear SVMs on frozen features of res5, as VISSL runs it.

Protocol: one SVM a class, costs by three-fold cross-validation, 11-point mean average precision; low-shot with 1 to 96
images a class, five samples of each. Source: facebookresearch/vissl, svm_benchmark.

Command: selfsup evaluate WEIGHTS --config eval/voc07
"""

layer = "res5:2x2"
tasks = dict(voc07=dict(type="StandardTask", set="voc07", root="data/voc07"))
evaluators = dict(
    svm=dict(type="SVM"),
    svm_low_shot=dict(type="SVM", shots=(1, 2, 4, 8, 16, 32, 64, 96)),
)
