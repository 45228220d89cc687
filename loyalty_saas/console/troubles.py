"""What at a client wants a person."""

from dataclasses import dataclass
from typing import Final

AT_RISK: Final = 2


@dataclass(frozen=True)
class Trouble:
    """Something at a client that wants a person, what to do, and how badly: 4 first, 3 now, 2 today, 1 this week."""

    weight: int
    words: str
    todo: str = ""

    @property
    def icon(self) -> str:
        """What stands before it."""
        return "triangle-alert" if self.weight >= AT_RISK else "info"
