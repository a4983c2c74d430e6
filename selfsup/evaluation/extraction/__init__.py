"""Features of images: computed in blocks, in what is fast, kept in files."""
