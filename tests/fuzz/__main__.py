"""``python -m fuzz``. Processes of the pool import all but this module."""

from __future__ import annotations

import sys

from fuzz.running import main

if __name__ == "__main__":
    sys.exit(main())
