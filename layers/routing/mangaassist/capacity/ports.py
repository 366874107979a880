"""What the steps of the workflow work with: the service, the tables, the operators' board, the policy, the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from mangaassist.capacity.control_plane import ControlPlane
    from mangaassist.capacity.register import Register
    from mangaassist.capacity.rules import Rules
    from mangaassist.capacity.utilisation import Utilisation
    from mangaassist.routing.policy import Policy


class Board(Protocol):
    """Where operators read notices."""

    def post(self, subject: str, message: str) -> None:
        """Publish; raises ControlPlaneError."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The same for every step; `is_policy_sound` is False while an override of the policy is invalid and ignored."""

    control_plane: ControlPlane
    register: Register
    utilisation: Utilisation
    board: Board
    read_policy: Callable[[], Policy]
    is_policy_sound: Callable[[], bool]
    rules: Rules
    now_s: Callable[[], float] = time.time

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.read_policy()
