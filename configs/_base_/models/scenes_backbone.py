"""The network of the scenes: a RegNet of 331,872 parameters for 32 pixels, small enough for minutes on two cores."""

backbone = dict(type="RegNet", depths=(1, 1, 2, 1), widths=(32, 64, 128, 256), group_width=16)
