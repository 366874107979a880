"""`python -m local`: start the twin (README says `make run`)."""

from __future__ import annotations

import time

BEGAN = time.perf_counter()  # before the slow imports: the person at the keyboard waits for those too

import argparse  # noqa: E402
import ipaddress  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "layers" / "routing"))  # the emulators know models and targets by the policy


def main() -> int:
    """Read the command line and run."""
    from local.gateway import Limits
    from local.twin import Options, main

    defaults = Limits()
    parser = argparse.ArgumentParser(prog="python -m local", description="The whole application on this machine.")
    parser.add_argument("--port", type=_port, default=8080, help="of the page and the WebSocket; the next one is AWS")
    parser.add_argument("--template", type=Path, default=ROOT / "template.yaml", help="the SAM template to run")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable of the functions")
    parser.add_argument("--seed", type=int, help="of latencies and fault probabilities, to repeat a run")
    parser.add_argument("--pace", type=float, default=1, help="of the emulated models: 0.2 makes them wait a fifth")
    parser.add_argument(
        "--environments",
        type=int,
        default=0,
        metavar="N",
        help="processes of their own in which shoppers' functions run, as on Lambda; without any, in the twin's",
    )
    parser.add_argument("--quotas", type=float, default=1, help="of the emulated models, in times of the default ones")
    parser.add_argument(
        "--endpoint",
        type=_settings,
        metavar="on|NAME=VALUE,…",
        help="host the SageMaker endpoint, with these settings of its profile: dialect=tgi,minimum=0",
    )
    parser.add_argument("--verbose", action="store_true", help="show what the functions log")
    parser.add_argument(
        "--containers", type=_one_address, metavar="ADDRESS", help="of this machine, where AWS hears containers too"
    )
    parser.add_argument(
        "--no-daily", action="store_true", help="start no function on a schedule, whose calls would count"
    )
    for name in ("integration_s", "idle_s", "connection_s"):
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=float, default=getattr(defaults, name), help="limit of the gateway in seconds")
    chosen = parser.parse_args()
    if wrong := [pair for pair in chosen.set if "=" not in pair]:
        parser.error(f"--set expects NAME=VALUE, not {wrong[0]}")
    options = Options(
        port=chosen.port,
        template=chosen.template,
        variables=dict(pair.split("=", 1) for pair in chosen.set),
        limits=Limits(chosen.integration_s, chosen.idle_s, chosen.connection_s),
        seed=chosen.seed,
        pace=chosen.pace,
        quotas=chosen.quotas,
        environments=chosen.environments,
        endpoint=chosen.endpoint,
        verbose=chosen.verbose,
        containers=chosen.containers,
        daily=not chosen.no_daily,
    )
    return main(options, BEGAN)


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65_534:
        raise argparse.ArgumentTypeError("a port from 1 to 65534, because the next one is used too")
    return port


def _settings(text: str) -> dict[str, str]:
    """Settings of the endpoint, or a plain word for none."""
    if text == "on":
        return {}
    pairs = [pair.partition("=") for pair in text.split(",")]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise argparse.ArgumentTypeError(f"on, or settings such as dialect=tgi,minimum=0 are expected, not {wrong[0]}")
    return {name: value for name, _, value in pairs}


def _one_address(text: str) -> str:
    """A private IPv4 address, as a bridge of containers has it: whoever reaches it may use emulated AWS."""
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no IPv4 address") from error
    if not address.is_private or address.is_unspecified:
        raise argparse.ArgumentTypeError(f"{text} would let in more than the containers of this machine")
    return str(address)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before it was ready to hear a signal
        sys.exit(130)
