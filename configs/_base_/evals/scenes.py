"""Nine categories of emoji: learn from the training ids, be judged on ids never seen in training."""

_seen = dict(type="Scenes", split="train", size=64, background="flat", variants=1)
_unseen = dict(type="Scenes", split="test", size=64, background="flat", variants=1)

evaluators = dict(
    knn=dict(type="KNN", k=20, temperature=0.07, train=_seen, test=_unseen, size=64),
    linear=dict(type="LinearProbe", train=_seen, test=_unseen, size=64),
    spread=dict(type="Spread", test=_unseen, size=64),
)
