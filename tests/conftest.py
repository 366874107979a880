"""What every function's environment tells, before anything of ours is imported."""

from __future__ import annotations

import os

STACK = "mangaassist"

os.environ["POWERTOOLS_SERVICE_NAME"] = STACK
