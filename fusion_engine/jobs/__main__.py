"""`python -m fusion_engine.jobs`: run the job service in the foreground until Ctrl-C."""

import argparse
import os
import sys

from fusion_engine.core.errors import FusionError


def main() -> int:
    """Parse the command line and serve; 0 when stopped, 2 on an error the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m fusion_engine.jobs", description=__doc__)
    parser.add_argument("--owner", type=int, help="end when this process has ended and no job is left")
    parser.add_argument("--workers", type=int, help="workers for long jobs (default: one for every two cores)")
    arguments = parser.parse_args()
    # Read when Dask is imported, here and in the workers; its notes on every connection help nobody.
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")
    from .service.serve import serve

    try:
        serve(arguments.owner, arguments.workers)
    except FusionError as error:
        print(f"fusion_engine.jobs: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
