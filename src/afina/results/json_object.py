"""JSON objects whose known keys are typed attributes: checked where they are read, and kept as they were written."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar, get_args, get_type_hints, overload

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from afina.errors import AfinaError, UsageError, shown
from afina.json_files import read_json_object

__all__ = ["Digest", "Inside", "JsonObject", "Key", "Named", "checked", "plain", "read_checked"]

T = TypeVar("T")
Object = TypeVar("Object", bound="JsonObject")
_REQUIRED: Any = object()


class Key(Generic[T]):
    """A key of a JSON object as an attribute of the object; its default stands where the object lacks it or has null.

    What is not a string, number, list or mapping as JSON has them is made by `read` whenever it is asked for.
    """

    def __init__(self, default: T = _REQUIRED, *, read: Callable[[Any], T] | None = None) -> None:
        self.default, self.read = default, read

    @property
    def is_required(self) -> bool:
        """Return whether every such object has it."""
        return self.default is _REQUIRED

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: Mapping[str, Any], owner: type) -> T: ...

    # What has a default may be null in a file and mean the same; the default is of the declared type.
    def __get__(self, instance: Mapping[str, Any] | None, owner: type) -> Self | T:
        if instance is None:
            return self
        value = instance.get(self.name, self.default)
        if value is _REQUIRED:
            raise AttributeError(f"this {owner.__name__} has no '{self.name}'")
        if value is None and not self.is_required:
            return self.default
        return value if value is None or self.read is None or self.name not in instance else self.read(value)


class JsonObject(dict[str, Any]):
    """A JSON object; a subclass declares the keys that are relied on, others stay beside them, all in their order.

    It is made without a check, which is for files: see `checked`.
    """

    __slots__ = ()

    OTHERS: ClassVar[Any] = None
    """The type of what stands beside the declared keys, where all of that is of one."""

    @classmethod
    def made(cls, *parts: Mapping[str, Any], **values: Any) -> Self:
        """Return the parts and values as one object, in this order; a new key that is not declared is a fault of ours."""
        made = cls()
        for part in (*parts, values):
            # An object that was read may have keys of a newer version, which it keeps.
            known = isinstance(part, JsonObject) or cls.OTHERS is not None
            unknown = set() if known else part.keys() - cls.declared()
            assert not unknown, f"{cls.__name__} has no {sorted(unknown)}"
            made.update(part)
        return made

    @classmethod
    def declared(cls) -> dict[str, Key[Any]]:
        """Return the keys that are relied on, in the order in which they are declared."""
        # From the oldest ancestor on, so that an heir's keys follow those that it inherits, as they do in the file.
        spaces = [vars(base) for base in reversed(cls.__mro__)]
        return {name: key for own in spaces for name, key in own.items() if isinstance(key, Key)}

    @classmethod
    def check_whole(cls, value: Mapping[str, Any]) -> None:
        """Raise `ValueError` for what no key shows by itself; the keys are right by then."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        types = get_type_hints(cls, include_extras=True)
        fields = {
            name: core_schema.typed_dict_field(
                handler.generate_schema(get_args(types[name])[0]), required=key.is_required
            )
            for name, key in cls.declared().items()
        }
        schema = core_schema.typed_dict_schema(
            # Strict, so that "3" is no number; and open, as a newer Afina may have written keys that this one does not
            # know.
            fields, extra_behavior="allow", config=core_schema.CoreConfig(strict=True),
            extras_schema=None if cls.OTHERS is None else handler.generate_schema(cls.OTHERS),
        )  # fmt: skip

        def whole(value: Any) -> Any:
            cls.check_whole(value)
            return value

        return core_schema.no_info_after_validator_function(
            whole, schema, ref=f"{cls.__module__}.{cls.__name__}:{id(cls)}"
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe each key by its docstring."""
        written = handler.resolve_ref_schema(handler(schema))
        written["description"] = inspect.cleandoc(cls.__doc__ or "")
        for name, text in _docstrings(cls).items():
            written["properties"][name]["description"] = text
        return written

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        """Return the JSON schema of such an object, as of pydantic's models; docstrings are its descriptions."""
        return _checker(cls).json_schema()


def _inside(path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError("should be a path within the folder")
    return path


def _docstrings(cls: type[JsonObject]) -> dict[str, str]:
    """Return what stands under each key's declaration in the source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        key.target.id: inspect.cleandoc(str(under.value.value))
        for key, under in pairwise(body.body)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name) and key.target.id in cls.declared()
        and isinstance(under, ast.Expr) and isinstance(under.value, ast.Constant)
    }  # fmt: skip


def plain(value: Any) -> Any:
    """Return objects, in lists and dicts too, as plain dicts, for YAML, which writes no other kind."""
    if isinstance(value, dict):
        return {key: plain(own) for key, own in value.items()}
    return [plain(own) for own in value] if isinstance(value, list) else value


Inside = Annotated[str, Field(min_length=1), AfterValidator(_inside)]
"""A path within a study's folder."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}(-[a-z]+)?$")]
Named = Annotated[str, Field(min_length=1)]


def checked(kind: type[Object], value: Any, where: str, what_to_do: str) -> Object:
    """Return the value as such an object; raises `UsageError` for what it lacks, with the place and what to do."""
    try:
        _checker(kind).validate_python(value)
    except (ValidationError, RecursionError) as error:
        raise UsageError(f"{where} is damaged: {_problem(error)}; {what_to_do}.") from None
    # The object with its methods is made of what was written: the check has made floats of whole numbers.
    return kind(value)  # as it was written: the check has made floats of whole numbers


def read_checked(kind: type[Object], path: Path, what_to_do: str) -> Object:
    """Read such an object from a file of its own; raises `UsageError` as `checked` does."""
    try:
        return checked(kind, read_json_object(path, what_to_do=what_to_do), str(path), what_to_do)
    except UsageError:
        raise
    except AfinaError as error:
        raise UsageError(str(error)) from None


@cache
# Making a checker takes longer than checking a line with it.
def _checker(kind: type[JsonObject]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _problem(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "it nests too deeply"
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"])) or "it"
    text = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{place}: {text}, and is {shown(first['input'])}" if first["type"] != "missing" else f"{place} is missing"
