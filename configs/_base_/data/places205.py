"""Places205: 2,448,873 training images of 205 scenes, and its val as a task, as ``selfsup.data.standard`` has them."""

places205 = dict(type="Standard", name="places205", root="data/places205", split="train")
tasks = dict(
    places205=dict(type="Task", test=dict(type="Standard", name="places205", root="data/places205", split="val")),
)
