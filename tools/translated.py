"""Prints a SAM template as AWS will translate it, so that what SAM makes of it is linted and tested too."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import click
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

if TYPE_CHECKING:
    from collections.abc import Mapping

REGION = "ap-northeast-1"
LOCAL_CODE = "s3://local/"  # the translator takes code from S3 only, as it will lie there after packaging
CODE_PROPERTIES = ("CodeUri", "ContentUri", "DefinitionUri")


def translate(path: Path, parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Translate a template with its other parameters left open; raises the translator's InvalidDocumentException."""
    logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it warns of usage metrics that it did not send
    template = yaml_parse(path.read_text("utf-8"))
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        for name in CODE_PROPERTIES:
            if name in properties:
                properties[name] = LOCAL_CODE + properties[name]
    # It looks nothing up in AWS, but wants to know a region.
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    translated: dict[str, Any] = translator.translate(template, dict(parameters or {}))
    return translated


@click.command(help=__doc__)
@click.argument("template", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(template: Path) -> None:
    """Print the translation."""
    click.echo(json.dumps(translate(template), indent=1))


if __name__ == "__main__":
    main()
