"""What is done to one image on its way to becoming a view, on uint8 arrays with OpenCV."""

from selfsup.data.transforms.background import FreshBackground
from selfsup.data.transforms.base import Transform
from selfsup.data.transforms.blur import GaussianBlur
from selfsup.data.transforms.colour import ColorJitter, RandomGray, Solarize
from selfsup.data.transforms.geometry import CenterCrop, RandomHorizontalFlip, RandomResizedCrop, Resize

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "FreshBackground",
    "GaussianBlur",
    "RandomGray",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "Solarize",
    "Transform",
]
