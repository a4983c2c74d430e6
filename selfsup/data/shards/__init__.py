"""Tar files of images: reading where each image lies, and writing them."""
