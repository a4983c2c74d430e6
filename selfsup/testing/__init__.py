"""The contract of every kind of component, as checks that any package can run on its own.

Each check takes a built component and raises an AssertionError with one sentence that names the rule it breaks.
Networks, losses, transforms and hooks are used through copies and are the same afterwards; evaluators and sources are
used themselves. Ours pass the same checks.
"""

from selfsup.testing.backbone import check_backbone
from selfsup.testing.evaluator import check_evaluator, check_task
from selfsup.testing.hook import check_hook
from selfsup.testing.loss import check_loss
from selfsup.testing.method import check_method
from selfsup.testing.neck import check_neck
from selfsup.testing.source import check_source
from selfsup.testing.transform import check_transform

__all__ = [
    "check_backbone",
    "check_evaluator",
    "check_hook",
    "check_loss",
    "check_method",
    "check_neck",
    "check_source",
    "check_task",
    "check_transform",
]
