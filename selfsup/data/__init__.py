from selfsup.data.decode import decode_image
from selfsup.data.image_dataset import ImageDataset
from selfsup.data.image_list import ImageList
from selfsup.data.loader import build_loader
from selfsup.data.preprocess import Preprocess
from selfsup.data.sampler import StepSampler, steps_per_epoch
from selfsup.data.scenes import Scenes
from selfsup.data.subset import Subset
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
from selfsup.data.view_dataset import ViewDataset, collate_views
from selfsup.data.views import BYOLViews, EvaluationView, MoCoViews, MultiView, SimCLRViews, SwAVViews

__all__ = [
    "BYOLViews",
    "CenterCrop",
    "ColorJitter",
    "EvaluationView",
    "FreshBackground",
    "GaussianBlur",
    "ImageDataset",
    "ImageList",
    "MoCoViews",
    "MultiView",
    "Preprocess",
    "RandomGray",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "Scenes",
    "SimCLRViews",
    "Solarize",
    "StepSampler",
    "Subset",
    "SwAVViews",
    "Transform",
    "ViewDataset",
    "build_loader",
    "collate_views",
    "decode_image",
    "steps_per_epoch",
]
