"""`python -m modelserver`."""

import sys

from modelserver.cli import main

sys.exit(main())
