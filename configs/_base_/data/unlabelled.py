"""Any pile of images, in folders as they come: ``--data PATH`` says where."""

unlabelled = dict(type="ImageList", root="data/images")
