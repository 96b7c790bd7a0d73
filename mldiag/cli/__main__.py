from __future__ import annotations

import sys

from mldiag.cli import main

sys.exit(main())
