"""``python -m rectifold.cli``, for environments without the console script."""

from __future__ import annotations

import sys

from rectifold.cli import main

sys.exit(main())
