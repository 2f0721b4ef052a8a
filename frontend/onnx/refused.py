"""The error of a translator that cannot express its node."""

from __future__ import annotations


class RefusedError(Exception):
    """One node cannot be expressed, for the reason given; collected, never seen by the user."""
