"""From the bytes of an image file to pixels."""

from selfsup.data.decode.decoder import decode_image

__all__ = ["decode_image"]
