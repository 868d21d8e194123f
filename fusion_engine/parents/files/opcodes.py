"""What the opcodes of a torch pickle may be and do, checked before any of them is carried out."""

import pickletools
from typing import Final

from ...core.errors import UnsafeFileError
from .inert import refuse

# What torch writes for modules, state dicts and checkpoints, and nothing else. Left out among others: INST and OBJ
# (call a class), EXT* (names from a global table), DUP, and opcodes that reserve as much memory as they claim.
_ALLOWED: Final = frozenset({
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT",
    "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "EMPTY_TUPLE", "TUPLE", "TUPLE1",
    "TUPLE2", "TUPLE3", "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS",
    "EMPTY_SET", "ADDITEMS", "FROZENSET", "GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT",
    "MEMOIZE", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "NEWOBJ", "BINPERSID",
})
_PUTS: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GETS: Final = frozenset({"GET", "BINGET", "LONG_BINGET"})
# These change their first operand and leave it on the stack.
_IN_PLACE: Final = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
# What these make cannot be hashed, or is hashed by identity.
_OPAQUE: Final = frozenset({"LIST", "DICT", "NEWOBJ"})
# Which operands become keys of a dictionary or a set, and so are hashed.
_KEYS: Final = {
    "SETITEM": slice(1, None, 2), "SETITEMS": slice(1, None, 2), "DICT": slice(0, None, 2),
    "ADDITEMS": slice(1, None), "FROZENSET": slice(None),
}
_LARGEST_KEY: Final = 64


def check_opcodes(raw: bytes) -> None:
    """Raise UnsafeFileError for opcodes that torch does not write, and for those that take too much memory or time.

    Time: a tuple that holds another one twice, which holds another one twice, and so on, is as short to write as it is
    long to hash. So the stack is simulated with, for each value, the number of values a hash would visit.
    Damaged pickles raise anything (IndexError, KeyError, ValueError, ...).
    """
    stack: list[int | None] = []  # None is a mark
    memo: dict[int, int | None] = {}
    for opcode, argument, _ in pickletools.genops(raw):
        name = opcode.name
        if name not in _ALLOWED:
            refuse(f"pickle operation {name}")
        if name in _PUTS:
            index = len(memo) if name == "MEMOIZE" else int(argument or 0)
            if index > len(raw):  # the memo is an array as long as its largest index
                raise UnsafeFileError("needs more memory to read than is reasonable")
            memo[index] = stack[-1]
        elif name in _GETS:
            stack.append(memo[int(argument or 0)])
        elif name == "MARK":
            stack.append(None)
        elif name == "POP":
            stack.pop()
        else:
            operands = _operands(stack, opcode)
            if max(operands[_KEYS[name]] if name in _KEYS else [], default=0) > _LARGEST_KEY:
                raise UnsafeFileError("needs more time to read than is reasonable")
            visited = operands[0] if name in _IN_PLACE else 1 if name in _OPAQUE else 1 + sum(operands)
            # More than too many need not be counted: the number would grow as long as the file.
            stack.extend([min(visited, _LARGEST_KEY + 1)] * len(opcode.stack_after))


def _operands(stack: list[int | None], opcode: pickletools.OpcodeInfo) -> list[int]:
    """Take an opcode's operands, in order and without the mark, from the stack."""
    taken: list[int | None] = []
    before = len(opcode.stack_before)
    if pickletools.markobject in opcode.stack_before:
        while (top := stack.pop()) is not None:
            taken.append(top)
        before = opcode.stack_before.index(pickletools.markobject)
    taken += [stack.pop() for _ in range(before)]
    return [value for value in reversed(taken) if value is not None]
