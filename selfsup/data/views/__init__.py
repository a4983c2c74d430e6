"""From one image to the views that a method trains on."""
