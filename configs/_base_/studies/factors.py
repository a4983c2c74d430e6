"""Factors of SimCLR's study as changes of its recipes, and what the paper reports of them (quoted from memory)."""

_loss = "model.loss"
losses = {
    "NT-Xent": {_loss: dict(type="NTXentLoss", temperature=0.1)},
    "NT-Logistic": {_loss: dict(type="NTLogisticLoss", temperature=0.1)},
    "NT-Logistic, semi-hard": {_loss: dict(type="NTLogisticLoss", temperature=0.1, semi_hard=True)},
    "margin": {_loss: dict(type="MarginTripletLoss", margin=0.8)},
    "margin, semi-hard": {_loss: dict(type="MarginTripletLoss", margin=0.8, semi_hard=True)},
}
losses_expected = [
    dict(words=f"NT-Xent beats {other}", ahead=dict(loss="NT-Xent"), behind=dict(loss=other))
    for other in list(losses)[1:]
] + [
    dict(
        words=f"semi-hard negatives help {name}",
        ahead=dict(loss=f"{name}, semi-hard"),
        behind=dict(loss=name),
    )
    for name in ("NT-Logistic", "margin")
]
losses_reported = [
    dict(x="margin", series="", value=0.509),
    dict(x="NT-Logistic", series="", value=0.516),
    dict(x="margin, semi-hard", series="", value=0.575),
    dict(x="NT-Logistic, semi-hard", series="", value=0.579),
    dict(x="NT-Xent", series="", value=0.639),
]

temperatures = {
    f"{temperature:g}": {"model.loss.temperature": temperature} for temperature in (0.05, 0.1, 0.5, 1.0, 10.0, 100.0)
}
normalization = {"normalized": {"model.loss.normalize": True}, "not normalized": {"model.loss.normalize": False}}
temperatures_without = [dict(embeddings="normalized", temperature=each) for each in ("10", "100")] + [
    dict(embeddings="not normalized", temperature=each) for each in ("0.05", "0.1", "0.5", "1")
]
temperatures_expected = [
    dict(
        words=f"temperature 0.1 on embeddings of length 1 beats {other} on embeddings as they are",
        ahead=dict(embeddings="normalized", temperature="0.1"),
        behind=dict(embeddings="not normalized", temperature=other),
    )
    for other in ("10", "100")
] + [
    dict(
        words=f"temperature 0.1 beats {other}",
        ahead=dict(embeddings="normalized", temperature="0.1"),
        behind=dict(embeddings="normalized", temperature=other),
    )
    for other in ("0.05", "0.5", "1")
]
temperatures_reported = [
    dict(x="0.05", series="normalized", value=0.597),
    dict(x="0.1", series="normalized", value=0.644),
    dict(x="0.5", series="normalized", value=0.607),
    dict(x="1", series="normalized", value=0.580),
    dict(x="10", series="not normalized", value=0.572),
    dict(x="100", series="not normalized", value=0.570),
]
source = "Chen et al. 2020, arXiv:2002.05709, ResNet-50, ImageNet, 100 epochs, quoted from memory"

norms = {
    "BN": {"model.backbone.norm": "bn", "model.backbone.weight_standardization": False},
    "BN + WS": {"model.backbone.norm": "bn", "model.backbone.weight_standardization": True},
    "GN": {"model.backbone.norm": "gn", "model.backbone.weight_standardization": False},
    "GN + WS": {"model.backbone.norm": "gn", "model.backbone.weight_standardization": True},
}


def norms_expected(few: str, many: str) -> list[dict]:
    """What BiT says of normalization, for the fewest and the most images of a batch."""
    return [
        dict(
            words=f"batches of {batch}: GN + WS beats {other}",
            ahead=dict(norm="GN + WS", batch=batch),
            behind=dict(norm=other, batch=batch),
        )
        for batch in (few, many)
        for other in ("BN", "BN + WS", "GN")
    ] + [
        dict(
            words=f"{norm}: batches of {many} beat {few}",
            ahead=dict(norm=norm, batch=many),
            behind=dict(norm=norm, batch=few),
        )
        for norm in norms
    ]
