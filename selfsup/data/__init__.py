from selfsup.data.transforms import (
    CenterCrop,
    ColorJitter,
    FreshBackground,
    GaussianBlur,
    RandomGray,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    Solarize,
    Transform,
)
from selfsup.data.views import BYOLViews, EvaluationView, MoCoViews, MultiView, SimCLRViews, SwAVViews

__all__ = [
    "BYOLViews",
    "CenterCrop",
    "ColorJitter",
    "EvaluationView",
    "FreshBackground",
    "GaussianBlur",
    "MoCoViews",
    "MultiView",
    "RandomGray",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "SimCLRViews",
    "Solarize",
    "SwAVViews",
    "Transform",
]
