"""Places205 with few images a class: linear SVMs on frozen features of res5, as VISSL runs them.

Protocol: 10 and 100 images a class, five samples of each, costs from 0.01 to 1,000; features as for VOC07. Source:
facebookresearch/vissl, its low-shot configs of Places205.

Command: selfsup evaluate WEIGHTS --config eval/places205
"""

layer = "res5:6/1"
tasks = dict(places205=dict(type="StandardTask", set="places205", root="data/places205"))
evaluators = dict(
    svm_low_shot=dict(type="SVM", costs=(0.01, 0.1, 1.0, 10.0, 100.0, 1000.0), shots=(10, 100)),
)
