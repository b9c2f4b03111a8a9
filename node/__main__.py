"""`python -m node` is `unveto`."""

import sys

from node.cli import main

sys.exit(main())
