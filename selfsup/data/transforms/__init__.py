"""What is done to one image on its way to becoming a view, on uint8 arrays with OpenCV."""

from selfsup.data.transforms.background import FreshBackground, FreshFlatBackground
from selfsup.data.transforms.base import Transform
from selfsup.data.transforms.blur import GaussianBlur
from selfsup.data.transforms.color import ColorJitter, RandomGray, Solarize
from selfsup.data.transforms.geometry import CenterCrop, RandomCrop, RandomResizedCrop, Resize
from selfsup.data.transforms.orientation import RandomHorizontalFlip, RandomRotate90
from selfsup.data.transforms.study import Cutout, GaussianNoise, Sobel

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Cutout",
    "FreshBackground",
    "FreshFlatBackground",
    "GaussianBlur",
    "GaussianNoise",
    "RandomCrop",
    "RandomGray",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotate90",
    "Resize",
    "Sobel",
    "Solarize",
    "Transform",
]
