"""Options from dataclasses: a command takes a config, and its fields become the options.

A field is an option if its annotation has a `typer.Option`. A field that is a dataclass contributes
its own fields, except those that `Omit` names. A parameter of the command with the name of a field
takes its place, and fills it too.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from typer.models import OptionInfo

from harness.core.omit import Omit

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Config:
    """A parameter or field whose type is a dataclass."""

    kind: type
    omitted: frozenset[str]

    @classmethod
    def of(cls, hint: object) -> "_Config | None":
        kind, marks = _split(hint)
        if not (isinstance(kind, type) and is_dataclass(kind)):
            return None
        omitted = (mark.names for mark in marks if isinstance(mark, Omit))
        return cls(kind, frozenset().union(*omitted))

    def fields(self) -> Iterator[tuple[Field[Any], object]]:
        """The fields that a command can fill, each with its annotation."""
        hints = get_type_hints(self.kind, include_extras=True)
        for field in fields(self.kind):
            if field.init and field.name not in self.omitted:
                yield field, hints[field.name]

    def parameters(self) -> Iterator[inspect.Parameter]:
        """One keyword parameter for each option."""
        for field, hint in self.fields():
            if inner := _Config.of(hint):
                yield from inner.parameters()
            elif option := _option(hint):
                yield _parameter(field, hint, option)

    def build(self, given: Mapping[str, Any]) -> object:
        """The dataclass, with the values that the command line gave."""
        values: dict[str, Any] = {}
        for field, hint in self.fields():
            if inner := _Config.of(hint):
                values[field.name] = inner.build(given)
            elif field.name in given:
                value = given[field.name]
                values[field.name] = tuple(value or ()) if _is_tuple(hint) else value
        return self.kind(**values)


def expanded(command: Callable[..., Result]) -> Callable[..., Result]:
    """`command` for Typer: each keyword parameter that is a config becomes the config's options.

    Raises `TypeError` when two options have the same name.
    """
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    configs = {name: found for name in signature.parameters if (found := _Config.of(hints[name]))}
    own = signature.parameters.keys() - configs.keys()
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name in configs:
            inner = configs[parameter.name].parameters()
            parameters += [option for option in inner if option.name not in own]
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name]))

    @functools.wraps(command)
    def run(**given: Any) -> Result:
        built = {name: config.build(given) for name, config in configs.items()}
        return command(**{name: given[name] for name in own}, **built)

    names = [parameter.name for parameter in parameters]
    if twice := {name for name in names if names.count(name) > 1}:
        raise TypeError(f"{command.__name__} has two options {', '.join(sorted(twice))}")
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameter(field: Field[Any], hint: object, option: OptionInfo) -> inspect.Parameter:
    kind, _ = _split(hint)
    option, default = copy(option), field.default
    if _is_tuple(hint):
        kind, default = list[get_args(kind)[0]] | None, None  # type: ignore[misc]
    if field.default_factory is not MISSING:
        option.default_factory = field.default_factory
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if default is MISSING else default,
        annotation=Annotated[kind, option],
    )


def _option(hint: object) -> OptionInfo | None:
    return next((mark for mark in _split(hint)[1] if isinstance(mark, OptionInfo)), None)


def _split(hint: object) -> tuple[Any, tuple[object, ...]]:
    """A type and what its annotation adds."""
    if get_origin(hint) is Annotated:
        kind, *marks = get_args(hint)
        return kind, tuple(marks)
    return hint, ()


def _is_tuple(hint: object) -> bool:
    return get_origin(_split(hint)[0]) is tuple
