"""Nine categories of emoji: learn from the training ids, be evaluated on ids never seen in training."""

_seen = dict(type="Scenes", split="train", size=32, background="flat", scale=(0.6, 1.0), variants=2, seed=1)
_unseen = dict(type="Scenes", split="test", size=32, background="flat", scale=(0.6, 1.0), variants=2, seed=1)

evaluators = dict(
    knn=dict(type="KNN", k=20, temperature=0.07, train=_seen, test=_unseen, size=32, resize=32),
    linear=dict(type="LinearProbe", train=_seen, test=_unseen, size=32, resize=32),
    spread=dict(type="Spread", test=_unseen, size=32, resize=32),
)
