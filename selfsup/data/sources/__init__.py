"""Where images come from: folders, lists, drawn scenes."""
