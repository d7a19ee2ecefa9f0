"""What goes wrong, as the user is told it."""

from __future__ import annotations


class BadInput(ValueError):
    """Something the user gave cannot be used; the message names it, its value and the way out (exit code 2)."""


class GenerationFailed(RuntimeError):
    """Some texts could not be had, though the engine tried again; the finished ones are kept (exit code 1)."""


class ProfileError(ValueError):
    """A profile, field or value that cannot be used; the message says where and what to do."""
