"""What makes a unit test one: sockets are forbidden, so that nothing but our own code can answer."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_sockets(socket_disabled: None) -> None:
    """pytest-socket's own switch, on for every test of this folder."""
