"""What the tests of this folder share is in modules of it."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
