"""VOC07 classification with linear SVMs on frozen features of res5, as VISSL runs it.

Protocol: res5 of a ResNet-50 at 224 pixels averaged over windows of 6 x 6 places, 8,192 numbers; one SVM a class, costs
by three-fold cross-validation; low-shot with 1 to 96 images a class, five samples of each. ``map`` is what VISSL
reports, ``map_11`` what VOC did in 2007. Source: facebookresearch/vissl, eval_resnet_8gpu_transfer_voc07_svm.yaml.

Command: selfsup evaluate WEIGHTS --config eval/voc07
"""

layer = "res5:6/1"
tasks = dict(voc07=dict(type="StandardTask", set="voc07", root="data/voc07"))
evaluators = dict(
    svm=dict(type="SVM"),
    svm_low_shot=dict(type="SVM", shots=(1, 2, 4, 8, 16, 32, 64, 96)),
)
