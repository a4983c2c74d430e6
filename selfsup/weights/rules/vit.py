"""Names of ViT's tensors: ours are timm's, which MoCo v3 uses too; torchvision has names of its own."""

import re
from typing import Any

from selfsup.weights.rules.counterpart import of_timm
from selfsup.weights.rules.rule import Layout, Rule

TRUNK = (Rule(r"(cls_token|pos_embed|(?:patch_embed|blocks|norm)\..+)", r"\1"),)

_OUTSIDE = {
    "cls_token": "class_token",
    "pos_embed": "encoder.pos_embedding",
    "patch_embed.proj.weight": "conv_proj.weight",
    "patch_embed.proj.bias": "conv_proj.bias",
    "norm.weight": "encoder.ln.weight",
    "norm.bias": "encoder.ln.bias",
}
_INSIDE = {
    "norm1.": "ln_1.",
    "norm2.": "ln_2.",
    "attn.qkv.": "self_attention.in_proj_",  # query, key and value in the same order
    "attn.proj.": "self_attention.out_proj.",
    "mlp.fc1.": "mlp.0.",
    "mlp.fc2.": "mlp.3.",
}
_OLD_MLP = {"mlp.fc1.": "mlp.linear_1.", "mlp.fc2.": "mlp.linear_2."}


TORCHVISION = (
    Layout(
        r"encoder\.layers\.encoder_layer_0\.ln_1\.weight",
        (
            *(Rule(re.escape(theirs), ours) for ours, theirs in _OUTSIDE.items()),
            *(
                Rule(rf"encoder\.layers\.encoder_layer_(\d+)\.{re.escape(theirs)}(weight|bias)", rf"blocks.\1.{ours}\2")
                for parts in (_INSIDE, _OLD_MLP)
                for ours, theirs in parts.items()
            ),
            Rule(r"heads\..+", ignored="classifier"),
        ),
    ),
)
TORCHVISION_NETWORK = {"type": "ViT", "pool": "token"}


def in_torchvision(backbone: Any) -> list[str]:
    """torchvision's ViT of the same sizes; it has the class token's features only."""
    sizes = {
        "image_size": backbone.grid_size * backbone.patch_size,
        "patch_size": backbone.patch_size,
        "num_layers": len(backbone.blocks),
        "num_heads": backbone.num_heads,
        "hidden_dim": backbone.out_dim,
        "mlp_dim": 4 * backbone.out_dim,
    }
    made = f"torchvision.models.VisionTransformer({', '.join(f'{name}={size}' for name, size in sizes.items())})"
    code = f"import torchvision; model = {made}; model.heads = torch.nn.Identity()"
    return [code] if backbone.pool == "token" else []


def in_timm(backbone: Any) -> list[str]:
    """timm's ViTs of the three widths, each of which has heads of 64."""
    pooling = {"global_pool": "avg", "fc_norm": False} if backbone.pool == "mean" else {}
    names = [f"vit_{size}_patch16_224" for size in ("small", "base", "large")]
    return of_timm(*names, **pooling) if backbone.out_dim == 64 * backbone.num_heads else []
