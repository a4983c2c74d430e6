"""Names of ViT's tensors: ours are timm's, which MoCo v3 uses too; torchvision has names of its own."""

from typing import Any

from torch import nn

from selfsup.weights.rules.architecture import Architecture
from selfsup.weights.rules.counterpart import Counterpart, from_timm, num_heads
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


def _escaped(name: str) -> str:
    return name.replace(".", r"\.")


TORCHVISION = (
    Layout(
        r"encoder\.layers\.encoder_layer_0\.ln_1\.weight",
        (
            *(Rule(_escaped(theirs), ours) for ours, theirs in _OUTSIDE.items()),
            *(
                Rule(rf"encoder\.layers\.encoder_layer_(\d+)\.{_escaped(theirs)}(weight|bias)", rf"blocks.\1.{ours}\2")
                for parts in (_INSIDE, _OLD_MLP)
                for ours, theirs in parts.items()
            ),
            Rule(r"heads\..+", ignored="classifier"),
        ),
    ),
)
TORCHVISION_NETWORK = {"type": "ViT", "pool": "token"}
TO_TORCHVISION = (
    *(Rule(_escaped(ours), theirs) for ours, theirs in _OUTSIDE.items()),
    *(
        Rule(rf"blocks\.(\d+)\.{_escaped(ours)}(weight|bias)", rf"encoder.layers.encoder_layer_\1.{theirs}\2")
        for ours, theirs in _INSIDE.items()
    ),
)


def in_torchvision(architecture: Architecture, backbone: Any) -> Counterpart | None:
    """torchvision's ViT of the same sizes; it has the class token's features only."""
    from torchvision.models import VisionTransformer

    heads = num_heads(backbone)
    if heads is None or getattr(backbone, "pool", None) != "token":
        return None
    side = round((architecture.tokens - 1) ** 0.5) * architecture.stem
    (depth,), (width,) = architecture.depths, architecture.widths
    made = f"image_size={side}, patch_size={architecture.stem}, num_layers={depth}, num_heads={heads}, "
    made += f"hidden_dim={width}, mlp_dim={4 * width}"
    model = VisionTransformer(side, architecture.stem, depth, heads, width, 4 * width)
    model.heads = nn.Identity()  # type: ignore[assignment]
    code = f"model = torchvision.models.VisionTransformer({made}); model.heads = torch.nn.Identity()"
    return Counterpart(model, code, TO_TORCHVISION)


in_timm = from_timm(tuple(f"vit_{size}_patch16_224" for size in ("small", "base", "large")))
