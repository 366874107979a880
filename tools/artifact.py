"""What is deployed: the build, made smaller and quicker to start, and the parameters, with a hash of it all.

`sam build` ships every service that botocore knows and no bytecode, so each cold start would read a large directory and
compile everything that it imports: Lambda mounts code read-only, and what Python compiles there is lost.
"""

from __future__ import annotations

import compileall
import gzip
import hashlib
import json
import shutil
import tomllib
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT = Path(__file__).parent.parent
SOURCES = ("functions", "layers", "stacks")  # what a stack makes is named in the functions' environment
CONFIG = ROOT / "samconfig.toml"
LAYER = "RoutingLayer"
LAYER_MOUNT = "/opt/python"
FUNCTION_MOUNT = "/var/task"
ORIGIN = "sources.sha256"  # in a build, the hash of what it was made from

# The services that this application calls, and those that its operators reach through the layer.
SERVICES = frozenset(
    {
        "apigatewaymanagementapi",
        "bedrock",
        "bedrock-runtime",
        "cloudwatch",
        "codedeploy",
        "dynamodb",
        "lambda",
        "s3",
        "sagemaker-runtime",
        "service-quotas",
        "sns",
        "ssm",
        "stepfunctions",
        "sts",
    }
)
LEFT_OUT = ("boto3/examples", "requirements.in", "requirements.txt", "*.data")


@click.group()
def main() -> None:
    """Prepare what `sam build` has made."""


@main.command()
@click.argument("build", type=click.Path(exists=True, file_okay=False, path_type=Path))
def slim(build: Path) -> None:
    """Cut a build of `sam build` down to what runs, and compile it."""
    layer = build / LAYER / "python"
    before = size(layer)
    leave_out(layer)
    compile_all(layer, LAYER_MOUNT)
    for function in functions(build):
        compile_all(function, FUNCTION_MOUNT)
    (build / ORIGIN).write_text(code_sha(ROOT, {}), "utf-8")
    click.echo(f"{layer}: {before / 1e6:.1f} MB cut to {size(layer) / 1e6:.1f} MB, bytecode included")


def deployed_with(env: str, extra: Iterable[str], config: Path = CONFIG) -> dict[str, str]:
    """The parameters of an environment of samconfig.toml, others over them, and CodeSha; raises UsageError.

    On its command line `sam deploy` takes all parameters or none, so those of the file have to be said again.
    """
    environments: dict[str, Any] = tomllib.loads(config.read_text("utf-8"))
    if env not in environments:
        known = ", ".join(name for name in environments if name != "version")
        raise click.UsageError(f"{config.name} has no environment {env!r}; it has {known}")
    chosen = parameters(environments[env]["deploy"]["parameters"]["parameter_overrides"])
    chosen |= parameters(extra)
    chosen["CodeSha"] = code_sha(ROOT, chosen)
    return chosen


def built_from(build: Path) -> str:
    """The hash of what a build was made from; nothing where there is none."""
    origin = build / ORIGIN
    return origin.read_text("utf-8") if origin.is_file() else ""


def parameters(pairs: Iterable[str]) -> dict[str, str]:
    """Split Name=value pairs."""
    return dict(pair.split("=", 1) for pair in pairs)


def code_sha(root: Path, parameters: Mapping[str, str]) -> str:
    """A hash of everything that a deployment can change; the same on every machine.

    Parameters count because SAM does not look into them: a new memory size alone would publish no version.
    """
    digest = hashlib.sha256()
    for file in (root / "template.yaml", *sources(root)):
        digest.update(f"{file.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    for name, value in sorted(parameters.items()):
        if name != "CodeSha":
            digest.update(f"{name}={value}\0".encode())
    return digest.hexdigest()


def sources(root: Path) -> Iterator[Path]:
    """The files that are shipped, in a stable order."""
    for folder in SOURCES:
        for file in sorted((root / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file


def leave_out(layer: Path) -> None:
    """Remove from the layer what no function reads; raises ClickException when botocore has renamed a service."""
    data = layer / "botocore" / "data"
    known = {folder.name for folder in data.iterdir() if folder.is_dir()}
    if missing := SERVICES - known:
        raise click.ClickException(f"botocore has no data of {', '.join(sorted(missing))}")
    for service in known - SERVICES:
        shutil.rmtree(data / service)
    leave_out_endpoints(data)
    for pattern in LEFT_OUT:
        for path in layer.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def leave_out_endpoints(data: Path) -> None:
    """Cut the endpoint table, which every session reads (1.3 MB), down to the services kept."""
    models = [max(service.iterdir()) / "service-2.json.gz" for service in data.iterdir() if service.is_dir()]
    kept = {json.loads(gzip.decompress(model.read_bytes()))["metadata"]["endpointPrefix"] for model in models}
    table = data / "endpoints.json"
    endpoints: dict[str, Any] = json.loads(table.read_bytes())
    for partition in endpoints["partitions"]:
        services = partition["services"]
        partition["services"] = {prefix: services[prefix] for prefix in kept & services.keys()}
    table.write_text(json.dumps(endpoints, sort_keys=True), "utf-8")


def compile_all(folder: Path, mount: str) -> None:
    """Compile a folder to bytecode that is never checked against its source: on Lambda neither can change.

    The code names its files as Lambda mounts them, so that a traceback there shows lines.
    """
    done = compileall.compile_dir(
        folder,
        quiet=1,
        stripdir=str(folder),
        prependdir=mount,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    if not done:
        raise click.ClickException(f"not everything in {folder} compiles")


def functions(build: Path) -> Iterator[Path]:
    """The built functions' folders; the others are the layer's and those of nested templates."""
    for folder in sorted(build.iterdir()):
        if folder.is_dir() and folder.name != LAYER and not (folder / "template.yaml").exists():
            yield folder


def size(folder: Path) -> int:
    """Bytes in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
