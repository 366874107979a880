"""`make load`: how many turns a running MangaAssist holds, seen by its shoppers."""

import tools  # noqa: F401 - puts the layer on the path
