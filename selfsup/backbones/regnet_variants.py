"""The RegNetY models that have a name.

Sources: 400MF to 128GF are ClassyVision's and pycls's; ``y_256gf`` is SEER's of 1.27 billion parameters (VISSL's
regnet256Gf_1), not ClassyVision's model of the same name, which is (640, 124.47, 2.04, 848); ``y_10b`` is Goyal et al.
2022, arXiv:2202.08360.
"""

from selfsup.backbones.regnet_params import RegNetParams

VARIANTS = {
    "y_400mf": RegNetParams(depth=16, w_0=48, w_a=27.89, w_m=2.09, group_width=8),
    "y_800mf": RegNetParams(depth=14, w_0=56, w_a=38.84, w_m=2.4, group_width=16),
    "y_1_6gf": RegNetParams(depth=27, w_0=48, w_a=20.71, w_m=2.65, group_width=24),
    "y_3_2gf": RegNetParams(depth=21, w_0=80, w_a=42.63, w_m=2.66, group_width=24),
    "y_4gf": RegNetParams(depth=22, w_0=96, w_a=31.41, w_m=2.24, group_width=64),
    "y_8gf": RegNetParams(depth=17, w_0=192, w_a=76.82, w_m=2.19, group_width=56),
    "y_16gf": RegNetParams(depth=18, w_0=200, w_a=106.23, w_m=2.48, group_width=112),
    "y_32gf": RegNetParams(depth=20, w_0=232, w_a=115.89, w_m=2.53, group_width=232),
    "y_64gf": RegNetParams(depth=20, w_0=352, w_a=147.48, w_m=2.4, group_width=328),
    "y_128gf": RegNetParams(depth=27, w_0=456, w_a=160.83, w_m=2.52, group_width=264),
    "y_256gf": RegNetParams(depth=27, w_0=640, w_a=230.83, w_m=2.53, group_width=373),
    "y_10b": RegNetParams(depth=27, w_0=1744, w_a=620.83, w_m=2.52, group_width=1010),
}
