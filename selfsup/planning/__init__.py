"""Before a run: what it will do and cost, found without data and without memory for its weights."""

from selfsup.ops.cost import multiply_adds
from selfsup.planning.describe import Plan, describe, print_notes, print_plan
from selfsup.planning.trial import build_on_meta, load_and_try, try_out

__all__ = ["Plan", "build_on_meta", "describe", "load_and_try", "multiply_adds", "print_notes", "print_plan", "try_out"]
