"""The error tree. Every error a user can cause is a FusionError whose message is one clear line.

The command line prints the message and exits with status 2; the app shows it as is. Messages say
what is wrong and what to do, and carry no server paths (file *names* only).
"""


class FusionError(Exception):
    """Base of every error caused by input or settings rather than by a bug."""


class RecipeError(FusionError):
    """A recipe has unknown keys, wrong values, or parts that cannot work together."""


class ParentError(FusionError):
    """A parent cannot be read, or the parents do not belong together."""


class UnsafeFileError(ParentError):
    """A file tries to run code, escapes its folder, or is larger than allowed. Nothing of it was run."""


class DataError(FusionError):
    """Calibration or test data has the wrong shape, type, labels or values."""


class UnsupportedModelError(FusionError):
    """A model cannot be traced, or uses an operation without a label rule."""


class VerificationError(UnsupportedModelError):
    """A traced space failed the numerical permutation test."""


class BlamedSpaceError(VerificationError):
    """Exchanging the neurons of a space changes the outputs: the network can be fused with that space left in place."""


class StoreError(FusionError):
    """A run, parent set or data set in the store is missing or unreadable."""


class JobError(FusionError):
    """A job could not be submitted or its worker failed."""


class Cancelled(Exception):  # noqa: N818 - it is a request, not an error
    """Raised by a progress callback to stop the work. Nothing half-done is kept."""


def first_line(problem: BaseException) -> str:
    """The first line of what other code's error says, short enough to be shown; its type where it says nothing."""
    text = str(problem).strip() or type(problem).__name__
    return "".join(letter for letter in text.splitlines()[0][:200] if letter.isprintable())
