"""`make peers`: others who call Bedrock with fallbacks, beside ours, on the same emulator and in one run."""

import tools  # noqa: F401 - puts the layer on the path
