"""One section of a profile: fields that are validated, cannot be changed, and tell when they are read."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationInfo, field_validator

from . import settings_read, yaml_words

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


def parts(annotation: Any) -> list[Any]:
    """A type and every type inside it: dict[str, int] has dict, str and int."""
    return [annotation, *(inner for part in get_args(annotation) for inner in parts(part))]


def is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


class Section(BaseModel):
    """Fields that tell `settings_read` when they are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    _path: str | None = PrivateAttr(None)  # dotted, of this section; None until the profile is complete

    def __eq__(self, other: object) -> bool:
        """Whether all fields are the same, wherever the sections stand."""
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if settings_read.watched() and name in type(self).model_fields and not isinstance(value, Section):
            settings_read.note(self._path, name)
        return value

    def model_dump(self, **options: Any) -> dict[str, Any]:
        plain = super().model_dump(**options)
        if settings_read.watched():
            self._note(plain)
        return plain

    def _note(self, plain: Mapping[str, Any]) -> None:
        for name in plain:
            value = self.__dict__[name]
            if isinstance(value, Section):
                value._note(plain[name])
            else:
                settings_read.note(self._path, name)

    def place(self, path: str) -> None:
        """Tells the section, and those within it, by which dotted name it is read."""
        self._path = path
        for name, value in self.__dict__.items():
            if isinstance(value, Section):
                own = value.model_copy()  # a default is one object for all profiles and places
                own.place(f"{path}.{name}" if path else name)
                self.__dict__[name] = own

    @field_validator("*", mode="before")
    @classmethod
    def _word_or_number(cls, value: Any, info: ValidationInfo) -> Any:
        """A number where a word is meant is the word as it was written: revision: 1e5, 0012345."""
        wanted = parts(cls.model_fields[info.field_name or ""].annotation)
        word = str in wanted and not any(t in wanted for t in (int, float, Any))
        # a section inside decides for its own fields
        return yaml_words.plain(value, as_words=word, mappings=not any(map(is_section, wanted)))


def nearest(word: str, known: Any) -> str:
    """The known word that a mistyped one is nearest to, as a question in brackets; empty where none is near."""
    found = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""
