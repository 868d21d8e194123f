"""report: a fusion's run as one HTML file with live charts, which opens without a network."""

import argparse
from pathlib import Path

from ..output import check_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", metavar="RUN", help="a run's id in the store (FUSION_HOME), or the folder of a fusion")
    parser.add_argument("--html", type=Path, required=True, metavar="FILE.html", help="where the report goes")


def run(arguments: argparse.Namespace) -> None:
    """Write it."""
    check_writable(arguments.html)
    from fusion_engine.sharing.html_report import write_html_report

    write_html_report(arguments.which, arguments.html)
    print(f"{arguments.html}: written, {arguments.html.stat().st_size / 2**20:.1f} MiB")
