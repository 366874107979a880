"""`make chaos`: what shoppers get when one thing after the other fails, counted."""

import tools  # noqa: F401 - puts the layer on the path
