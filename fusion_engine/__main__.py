"""`python -m fusion_engine`: the command line."""

import sys

from fusion_engine.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
