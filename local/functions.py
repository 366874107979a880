"""Runs the template's functions in this process: real entry points, Lambda's context, fresh code after an edit."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import sys
import threading
import time
import traceback
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.intrinsics import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from local.template import Application, Function

    type Handler = Callable[[dict[str, Any], Context], Any]

LOOK_EVERY_S = 0.2  # how often an event looks for edited files
NEVER_AGAIN_S = math.inf
CODE = (".py", ".json")


@dataclass(frozen=True)
class Context:
    """What Lambda tells a handler about its invocation."""

    function_name: str
    memory_limit_in_mb: int
    aws_request_id: str
    deadline: float  # monotonic
    function_version: str = "1"
    identity: None = None
    client_context: None = None
    tenant_id: None = None
    log_stream_name: str = "twin"

    @classmethod
    def of(cls, function: Function) -> Context:
        """The context of an invocation that begins now."""
        return cls(function.name, function.memory_mb, str(uuid.uuid4()), time.monotonic() + function.timeout_s)

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function_name}:live"

    @property
    def log_group_name(self) -> str:
        return f"/aws/lambda/{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda would kill the invocation."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))


class HandlerFailed(Exception):
    """A handler could not be loaded or raised; `kind` is the error's type and `text` its message."""

    def __init__(self, function: str, error: BaseException) -> None:
        super().__init__(f"{function} failed: {type(error).__name__}: {error}")
        self.kind = type(error).__name__
        self.text = str(error)

    @classmethod
    def of(cls, function: str, kind: str, text: str) -> HandlerFailed:
        """A failure that another process tells of."""
        failure = cls(function, RuntimeError(text))
        failure.kind = kind
        return failure


@dataclass
class Functions:
    """The application's code as it is on disk now; what runs keeps the modules that it started with."""

    application: Application
    report: Callable[[str], None]  # one line for the person at the console
    look_every_s: float = LOOK_EVERY_S
    _handlers: dict[str, Handler] = field(default_factory=dict)
    _seen: dict[Path, int] = field(default_factory=dict)
    _looked_at: float = -math.inf
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def load(self) -> None:
        """Import every handler, as Lambda's init phase would; one that cannot be imported yet is reported."""
        for function in self.application.functions.values():
            try:
                self.handler(function)
            except HandlerFailed as failure:
                self.report(f"{failure} (its stack is in the log)")

    def handler(self, function: Function) -> Handler:
        """The entry point as the files have it now; raises HandlerFailed when it cannot be imported."""
        with self._lock:
            self._refresh()
            if function.name not in self._handlers:
                try:
                    module, _, entry = function.handler.rpartition(".")
                    self._handlers[function.name] = getattr(importlib.import_module(module), entry)
                except Exception as error:
                    traceback.print_exc()
                    raise HandlerFailed(function.name, error) from error
            return self._handlers[function.name]

    def start(self, name: str, event: dict[str, Any]) -> Future[Any]:
        """Begin an invocation on a thread of its own; the future fails with HandlerFailed.

        The thread is a daemon: a turn that still runs must not keep the twin from stopping.
        """
        function, future = self.application.functions[name], Future[Any]()

        def run() -> None:
            try:
                future.set_result(self.handler(function)(event, Context.of(function)))
            except HandlerFailed as failure:
                self._failed(future, failure)
            except Exception as error:  # whatever a handler raises is Lambda's to report, not ours to judge
                traceback.print_exc()
                self._failed(future, HandlerFailed(name, error))

        threading.Thread(target=run, name=f"{name}-invocation", daemon=True).start()
        return future

    def _failed(self, future: Future[Any], failure: HandlerFailed) -> None:
        if failure.text != "Unauthorized":  # API Gateway's word for a 401, not a defect
            self.report(f"{failure} (its stack is in the log)")
        future.set_exception(failure)

    def _refresh(self) -> None:
        """Forget every module of ours when one of the files has changed, and put the folders on the path."""
        if time.monotonic() - self._looked_at < self.look_every_s:
            return
        self._looked_at = time.monotonic()
        folders = {*(f.folder.resolve() for f in self.application.functions.values())}
        folders |= {layer.resolve() for layer in self.application.layers}
        for folder in sorted(folders):
            if str(folder) not in sys.path:
                sys.path.insert(0, str(folder))
        seen = {path: path.stat().st_mtime_ns for path in _code(folders)}
        if self._seen and seen != self._seen:
            changed = [path for path in seen if seen[path] != self._seen.get(path)]
            _forget(folders, changed)
            self._handlers.clear()
            self.report(f"reloaded after a change of {', '.join(path.name for path in changed) or 'the files'}")
        self._seen = seen


def _code(folders: Iterable[Path]) -> Iterable[Path]:
    return (path for folder in folders for path in folder.rglob("*") if path.suffix in CODE and path.is_file())


def _forget(folders: set[Path], changed: list[Path]) -> None:
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and any(Path(file).is_relative_to(folder) for folder in folders):
            del sys.modules[name]
    for path in changed:  # compiled code is told apart by whole seconds only
        with contextlib.suppress(FileNotFoundError):
            Path(importlib.util.cache_from_source(str(path))).unlink()
    importlib.invalidate_caches()
