"""Verbs that tell: what there is, what a run needs, what a machine can do."""
