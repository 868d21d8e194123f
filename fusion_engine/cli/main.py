"""The command line's entry: parsing, and turning errors into one line and exit status 2."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from fusion_engine import __version__
from fusion_engine.core.errors import FusionError

from . import analyse, evaluate, fuse, inspect, leaderboard, recipes, search, train
from .comparing import diff, runs
from .sharing import bundle, report

_COMMANDS = (fuse, evaluate, inspect, analyse, leaderboard, search, diff, runs, report, bundle, train, recipes)


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors take one line, like all others."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help shows how)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. 0: done; 2: an error, told in one line on stderr; 130: interrupted."""
    parser = _Parser(prog="python -m fusion_engine", description="Fuse trained networks neuron by neuron.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser, metavar="COMMAND")
    for module in _COMMANDS:
        name = module.__name__.rsplit(".", 1)[1]
        summary = (module.__doc__ or "").strip().splitlines()[0].split(": ", 1)[1]
        command = commands.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(command)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.set_defaults(run=module.run)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe (head, less) has seen enough
        sys.stderr.close()
        return 0
    except Exception as error:
        if arguments.debug:
            raise
        known = isinstance(error, FusionError | MemoryError)
        line = " ".join(str(error).split()) or type(error).__name__
        hint = "" if known else f" (unexpected {type(error).__name__}; --debug shows where)"
        print(f"{line}{hint}", file=sys.stderr)
        return 2
    return 0
