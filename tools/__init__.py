"""Programs that the Makefile runs; they know the application by its layer."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "layers" / "routing"))
