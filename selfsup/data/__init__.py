from selfsup.data.boxes import BoxCrops, ObjectCrops
from selfsup.data.corruption import Corrupted
from selfsup.data.decode.decoder import decode_image
from selfsup.data.describe import describe_images
from selfsup.data.draws import AllBut
from selfsup.data.hierarchy import Hierarchy
from selfsup.data.imagenet_c import IMAGENET_C, ImageNetC
from selfsup.data.input_contract import InputContract
from selfsup.data.loader import build_loader
from selfsup.data.preprocess import Preprocess
from selfsup.data.sampler import StepSampler, steps_per_epoch
from selfsup.data.selection import Pooled, Subset
from selfsup.data.sources.coco import CocoDetection, VocDetection
from selfsup.data.sources.crowded_scenes import CrowdedScenes
from selfsup.data.sources.image_list import ImageList
from selfsup.data.sources.mixture import Mixture
from selfsup.data.sources.scenes import Scenes
from selfsup.data.sources.shard_stream import ShardStream
from selfsup.data.sources.source import ImageSource, LabelSets, Relabeled, join_classes
from selfsup.data.sources.web_shards import WebShards
from selfsup.data.splits import Part, Split, split
from selfsup.data.standard import Standard
from selfsup.data.transforms import (
    CenterCrop,
    ColorJitter,
    Cutout,
    FreshBackground,
    GaussianBlur,
    GaussianNoise,
    RandomCrop,
    RandomGray,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotate90,
    Resize,
    Sobel,
    Solarize,
    Transform,
)
from selfsup.data.view_dataset import ViewDataset, collate_views
from selfsup.data.views.detection_views import ScaleJitterViews, ShortSideViews
from selfsup.data.views.method_views import BYOLViews, MoCoViews, SimCLRViews, SwAVViews
from selfsup.data.views.multi_view import MultiView
from selfsup.data.views.single_view import BiTViews, SupervisedViews
from selfsup.data.views.study_views import STUDY_GRID, OneBranchViews, study_transforms

__all__ = [
    "IMAGENET_C",
    "STUDY_GRID",
    "AllBut",
    "BYOLViews",
    "BiTViews",
    "BoxCrops",
    "CenterCrop",
    "CocoDetection",
    "ColorJitter",
    "Corrupted",
    "CrowdedScenes",
    "Cutout",
    "FreshBackground",
    "GaussianBlur",
    "GaussianNoise",
    "Hierarchy",
    "ImageList",
    "ImageNetC",
    "ImageSource",
    "InputContract",
    "LabelSets",
    "Mixture",
    "MoCoViews",
    "MultiView",
    "ObjectCrops",
    "OneBranchViews",
    "Part",
    "Pooled",
    "Preprocess",
    "RandomCrop",
    "RandomGray",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotate90",
    "Relabeled",
    "Resize",
    "ScaleJitterViews",
    "Scenes",
    "ShardStream",
    "ShortSideViews",
    "SimCLRViews",
    "Sobel",
    "Solarize",
    "Split",
    "Standard",
    "StepSampler",
    "Subset",
    "SupervisedViews",
    "SwAVViews",
    "Transform",
    "ViewDataset",
    "VocDetection",
    "WebShards",
    "build_loader",
    "collate_views",
    "decode_image",
    "describe_images",
    "join_classes",
    "split",
    "steps_per_epoch",
    "study_transforms",
]
