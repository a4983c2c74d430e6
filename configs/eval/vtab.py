"""Linear probes on the nineteen tasks of VTAB, a thousand labels each.

Paper: Zhai et al. 2019, arXiv:1910.04867, which fine-tunes; here features are frozen. 800 images of the training part
are learned from and 200 choose, of the validation part where the data set has one; then all 1,000 are learned from. The
images are drawn by us. 1,000 images of SUN397 do not hold all of its classes; the row says which are missing.
Caltech-101 (30 images of each class to learn from) and EuroSAT are split by us, for VTAB's own split of them exists
only inside tensorflow_datasets; so is SUN397 where the lists of tensorflow_datasets are not in its folder.

Data: ``data/cifar100``, ``data/sun397`` and so on; what is not there is named with where it comes from.

Command: selfsup evaluate WEIGHTS --config eval/vtab
"""

_natural = ("caltech101", "cifar100", "dtd", "flowers", "pets", "sun397", "svhn")
_specialized = ("camelyon", "eurosat", "resisc45", "retinopathy")
_structured = (
    "clevr_count",
    "clevr_distance",
    "dmlab",
    "dsprites_location",
    "dsprites_orientation",
    "kitti_distance",
    "snorb_azimuth",
    "snorb_elevation",
)

_sets = dict(sun397="sun397_tfds")  # VTAB's own split of it
tasks = {
    f"{group}/{name}": dict(
        type="StandardTask", set=_sets.get(name, name), root=f"data/{name}", max_train=1000, metric="top1"
    )
    for group, names in (("natural", _natural), ("specialized", _specialized), ("structured", _structured))
    for name in names
}
evaluators = dict(linear=dict(type="LinearProbe"))
