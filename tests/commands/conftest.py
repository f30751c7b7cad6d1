"""What the tests of commands share."""

import pathlib
import sys

# For the module that tests of this folder share.
sys.path.insert(0, str(pathlib.Path(__file__).parent))
