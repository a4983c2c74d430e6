"""Training a pretrained backbone on."""

from selfsup.transfer.bit_rule import HyperRule, hyper_rule

__all__ = ["HyperRule", "hyper_rule"]
