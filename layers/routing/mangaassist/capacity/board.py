"""Where operators read notices: an SNS topic, or nothing but the log when the deployment has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mangaassist.capacity.control_plane import named

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


class Topic:
    """Notices as messages of a topic."""

    def __init__(self, client: SNSClient, arn: str) -> None:
        self._client = client
        self._arn = arn

    def post(self, subject: str, message: str) -> None:
        """Publish; raises ControlPlaneError."""
        if self._arn:
            with named("Sns"):
                self._client.publish(TopicArn=self._arn, Subject=subject, Message=message)
