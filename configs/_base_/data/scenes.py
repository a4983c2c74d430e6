"""Emoji of 32 pixels: transparent scenes, and the pair of views that every contrastive method on them takes.

Every view draws a new background, so that only the emoji is common to the views of a scene. Crops keep two fifths or
more: an emoji of 20 pixels has no parts to tell apart. Jitter of half the strength and no blur, as SimCLR on CIFAR.
"""

_fresh_background = dict(type="FreshBackground", kinds=("flat",))

scenes = dict(
    num_images=10_664,  # 1,333 training emoji in two domains, four scenes each
    train=dict(type="Scenes", split="train", size=32, background="none", scale=(0.6, 1.0)),
    before=[_fresh_background],
    pair=dict(type="SimCLRViews", size=32, strength=0.5, blur=False, scale=(0.4, 1.0), before=[_fresh_background]),
)
