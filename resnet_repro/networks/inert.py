"""Reading the tensors of a pickle without making any of the objects that it asks for.

`torch.load(weights_only=True)` refuses a whole file for one harmless object beside the weights: the
options of a training (`argparse.Namespace`), a numpy number, a callback. Here the pickle's
instructions are followed by a small machine of our own. It knows containers and plain values; of
functions and classes only those in `_TENSORS` and `_MAPPINGS`, which it does not call but records;
everything else becomes an `Inert` with what was to go into it. Nothing is imported or called.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

import torch

__all__ = ["Inert", "InertError", "Machine", "Record", "Storage", "leaves"]

MOST_INSTRUCTIONS = 3_000_000
DEEPEST = 100  # containers in containers
LONGEST_PLACE = 500  # characters of the names of containers and of what is in them

_TENSORS = {
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_tensor_v3"),
}
_AROUND_TENSORS = {  # functions whose first argument is the tensor
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_parameter_with_state"),
}
_MAPPINGS = {("collections", "OrderedDict"), ("collections", "defaultdict"), ("builtins", "dict")}
_TYPED = ("torch._tensor", "_rebuild_from_type_v2")  # (function, type, its arguments, state)
_DTYPES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
}
_MODULE_PARTS = ("_modules", "_parameters", "_buffers")  # where a torch.nn.Module keeps what it has
_PLAIN = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_DAMAGED = "its pickle is damaged"
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_IGNORED = ("PROTO", "FRAME", "READONLY_BUFFER")


class InertError(ValueError):
    """The file is no pickle as torch writes them, or is cut off, or too large."""


class Name(NamedTuple):
    """A function or class that a pickle asks for; it stays a name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Inert:
    """What stands for an object that was not made: its class or function, and what it was given."""

    kind: str
    given: list[Any] = field(default_factory=list)


class Storage(NamedTuple):
    """Where the numbers of tensors lie in the file."""

    dtype: torch.dtype | None  # None: bytes, the tensor knows
    key: str
    items: int


@dataclass(eq=False)
class Record:
    """A tensor still to be made: a view of a storage, sizes and strides in items."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class Machine:
    """Follows the instructions of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.kinds: dict[str, None] = {}  # of what was not made, in order

    def run(self, file: BinaryIO) -> Any:
        """The object that the pickle at the file's position describes."""
        try:
            for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
                if count >= MOST_INSTRUCTIONS:
                    raise InertError("its pickle is too long")
                if opcode.name == "STOP":
                    return self.stack.pop()
                self.step(opcode.name, argument)
        except InertError:
            raise
        except (LookupError, TypeError, ValueError, OverflowError, MemoryError) as error:
            raise InertError(_DAMAGED) from error
        raise InertError("its pickle has no end")

    def step(self, name: str, argument: Any) -> None:
        """Follow one instruction."""
        if name in _PLAIN:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name not in _IGNORED:
            handler: Callable[[Machine, Any], None] | None = _HANDLERS.get(name)
            if handler is None:
                raise InertError(f"its pickle has the instruction {name}")
            handler(self, argument)

    def since_mark(self) -> list[Any]:
        """Take what was put on the stack since the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def name(self, module: Any, name: Any) -> None:
        """Put a name on the stack."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise InertError(_DAMAGED)
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        self.stack.append(Name(module, name))

    def make(self, what: Any, arguments: Any) -> None:
        """Put on the stack what a call would have given."""
        self.stack.append(self._made(what, arguments if isinstance(arguments, tuple) else ()))

    def _made(self, what: Any, arguments: tuple[Any, ...]) -> Any:
        if what == _TYPED and len(arguments) >= 3 and isinstance(arguments[2], tuple):
            what, arguments = arguments[0], arguments[2]
        if isinstance(what, Name):
            if what in _TENSORS:
                return _record(arguments)
            if what in _AROUND_TENSORS and arguments and isinstance(arguments[0], Record):
                return arguments[0]
            if what in _MAPPINGS:
                return _mapping(arguments)
            if what in (("copyreg", "_reconstructor"), ("copyreg", "__newobj__")):
                what = arguments[0] if arguments else what
        kind = what.kind if isinstance(what, Inert) else str(what) if type(what) is Name else "?"
        self.kinds.setdefault(kind)
        return Inert(kind, [a for a in arguments if isinstance(a, dict | Inert)])

    def append(self, items: list[Any]) -> None:
        """Add items to the list on the stack."""
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif isinstance(target, Inert):
            target.given.append(items)
        else:
            raise InertError(_DAMAGED)

    def put(self, items: list[Any]) -> None:
        """Add keys and values, one after the other, to the mapping on the stack."""
        target = self.stack[-1]
        pairs = _pairs(zip(items[::2], items[1::2], strict=True))
        if type(target) is dict:
            target.update(pairs)
        elif isinstance(target, Inert):
            target.given.append(pairs)
        else:
            raise InertError(_DAMAGED)

    def build(self) -> None:
        """Give an object its state; containers and tensors do without."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Inert):
            target.given += state if isinstance(state, tuple) else [state]


def _record(arguments: tuple[Any, ...]) -> Record:
    """A tensor from what torch's function for it is given."""
    storage, offset, size, stride = arguments[:4]
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Storage) or len(size) != len(stride):
        raise InertError("it has a tensor of something else than a storage")
    if any(type(number) is not int or not 0 <= number < 1 << 48 for number in numbers):
        raise InertError("it has a tensor of impossible sizes")
    dtype = storage.dtype
    if dtype is None:
        wanted = arguments[6] if len(arguments) > 6 else None
        found = getattr(torch, wanted.name, None) if type(wanted) is Name else None
        if type(wanted) is not Name or wanted.module != "torch":
            found = None
        dtype = found if isinstance(found, torch.dtype) else None
    if dtype is None:
        raise InertError("it has a tensor of an unknown type")
    return Record(storage, offset, tuple(size), tuple(stride), dtype)


def _mapping(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """A mapping from the pairs that it may be given; the function of a defaultdict is none."""
    pairs = arguments[-1] if arguments else ()
    if isinstance(pairs, dict):
        return dict(pairs)
    if not isinstance(pairs, list | tuple) or isinstance(pairs, Name):
        return {}
    return _pairs((pair[0], pair[1]) for pair in pairs)


def _pairs(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """A mapping without keys that are not plain: comparing such can go on for ever."""
    return {key: value for key, value in pairs if key is None or type(key) in (str, int, bool)}


def _storage(told: Any) -> Storage:
    """What a persistent id says: ('storage', type, key, place, items, ...)."""
    if not isinstance(told, tuple) or len(told) < 5 or told[0] != "storage":
        raise InertError("it has a reference to something else than a storage")
    kind, key, items = told[1], told[2], told[4]
    if type(kind) is not Name or kind.module not in ("torch", "torch.storage"):
        raise InertError("it has a storage of an unknown type")
    if kind.name != "UntypedStorage" and kind.name not in _DTYPES:
        raise InertError("it has a storage of an unknown type")
    if len(told) > 5 and told[5] is not None:
        raise InertError("it has a view of a storage")
    return Storage(_DTYPES.get(kind.name), str(key), int(items))


def _handlers() -> dict[str, Callable[[Machine, Any], None]]:
    """What each instruction does to the machine, but for those of plain values."""

    def global_(m: Machine, argument: Any) -> None:
        m.name(*argument.split(" ", 1))

    def stack_global(m: Machine, _: Any) -> None:
        name, module = m.stack.pop(), m.stack.pop()
        m.name(module, name)

    def reduce_(m: Machine, _: Any) -> None:
        arguments, what = m.stack.pop(), m.stack.pop()
        m.make(what, arguments)

    def newobj_ex(m: Machine, _: Any) -> None:
        m.stack.pop()
        reduce_(m, _)

    def obj(m: Machine, _: Any) -> None:
        what, *arguments = m.since_mark()
        m.make(what, tuple(arguments))

    def inst(m: Machine, argument: Any) -> None:
        arguments = tuple(m.since_mark())
        m.name(*argument.split(" ", 1))
        m.make(m.stack.pop(), arguments)

    def put(m: Machine, _: Any) -> None:
        value, key = m.stack.pop(), m.stack.pop()
        m.put([key, value])

    def pop_mark(m: Machine, _: Any) -> None:
        m.since_mark()

    def persid(m: Machine, _: Any) -> None:
        told = m.stack.pop()
        if isinstance(told, tuple) and told[:1] == ("module",) and len(told) > 1:
            m.stack.append(told[1])  # a network's class, with its source text in old files
            return
        storage = _storage(told)
        m.storages[storage.key] = storage
        m.stack.append(storage)

    def memoize(m: Machine, argument: Any) -> None:
        m.memo[len(m.memo) if argument is None else int(argument)] = m.stack[-1]

    def last(count: int) -> Callable[[Machine, Any], None]:
        def tuple_(m: Machine, _: Any) -> None:
            items = tuple(m.stack[len(m.stack) - count :])
            if len(items) != count:
                raise InertError(_DAMAGED)
            del m.stack[len(m.stack) - count :]
            m.stack.append(items)

        return tuple_

    def pushed(make: Callable[[Machine], Any]) -> Callable[[Machine, Any], None]:
        return lambda m, _: m.stack.append(make(m))

    def pair_up(m: Machine) -> dict[Any, Any]:
        items = m.since_mark()
        return _pairs(zip(items[::2], items[1::2], strict=True))

    handlers: dict[str, Callable[[Machine, Any], None]] = {
        "MARK": lambda m, _: m.marks.append(len(m.stack)),
        "POP": lambda m, _: m.stack.pop() and None,
        "POP_MARK": pop_mark,
        "DUP": lambda m, _: m.stack.append(m.stack[-1]),
        "EMPTY_LIST": pushed(lambda m: []),
        "EMPTY_TUPLE": pushed(lambda m: ()),
        "EMPTY_DICT": pushed(lambda m: {}),
        "EMPTY_SET": pushed(lambda m: Inert("builtins.set")),
        "LIST": pushed(lambda m: m.since_mark()),
        "TUPLE": pushed(lambda m: tuple(m.since_mark())),
        "DICT": pushed(pair_up),
        "FROZENSET": pushed(lambda m: Inert("builtins.frozenset", m.since_mark())),
        "APPEND": lambda m, _: m.append([m.stack.pop()]),
        "APPENDS": lambda m, _: m.append(m.since_mark()),
        "ADDITEMS": lambda m, _: m.append(m.since_mark()),
        "SETITEM": put,
        "SETITEMS": lambda m, _: m.put(m.since_mark()),
        "MEMOIZE": memoize,
        "BINPERSID": persid,
        "GLOBAL": global_,
        "STACK_GLOBAL": stack_global,
        "REDUCE": reduce_,
        "NEWOBJ": reduce_,
        "NEWOBJ_EX": newobj_ex,
        "OBJ": obj,
        "INST": inst,
        "BUILD": lambda m, _: m.build(),
    }
    handlers |= dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), memoize)
    handlers |= dict.fromkeys(
        ("GET", "BINGET", "LONG_BINGET"), lambda m, key: m.stack.append(m.memo[int(key)])
    )
    handlers |= {f"TUPLE{count}": last(count) for count in (1, 2, 3)}
    return handlers


_HANDLERS = _handlers()


def leaves(content: Any) -> Iterator[tuple[str, Any]]:
    """(place, value) of everything in nested containers: `model.conv1.weight`.

    What several places share is named at the first. A network that was pickled whole gives the
    places of its state dict. What lies too deep, or under a name too long, is left out.
    """
    seen: set[int] = set()

    def walk(value: Any, place: str, depth: int) -> Iterator[tuple[str, Any]]:
        if not isinstance(value, dict | list | tuple | Inert) or isinstance(value, Name | Storage):
            yield place, value
            return
        if id(value) in seen or depth > DEEPEST or len(place) > LONGEST_PLACE:
            return
        seen.add(id(value))
        if isinstance(value, Inert):
            for part in value.given:
                if isinstance(part, dict | Inert):
                    yield from walk(part, place, depth + 1)
            return
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if key in _MODULE_PARTS and isinstance(inner, dict):
                yield from walk(inner, place, depth + 1)
            elif isinstance(key, str | int) and len(str(key)) <= LONGEST_PLACE:
                yield from walk(inner, f"{place}.{key}" if place else str(key), depth + 1)

    return walk(content, "", 0)
