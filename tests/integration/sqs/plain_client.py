"""Plain aiobotocore clients: the suite shares no line, and so no misreading, with our own client.

Today's botocore speaks JSON to SQS. Its serializer and parser of the query protocol are still
there, for other services; what its model of SQS lost are the names of repeated elements. They are
returned here (Amazon SQS API Reference, version 2012-11-05, examples of each action).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from functools import cache
from typing import Any, Literal

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.loaders import Loader
from types_aiobotocore_sqs import SQSClient

Protocol = Literal["json", "query"]

_ELEMENT_OF_LIST = {
    "AttributeNameList": "AttributeName",
    "BatchResultErrorEntryList": "BatchResultErrorEntry",
    "ChangeMessageVisibilityBatchRequestEntryList": "ChangeMessageVisibilityBatchRequestEntry",
    "ChangeMessageVisibilityBatchResultEntryList": "ChangeMessageVisibilityBatchResultEntry",
    "DeleteMessageBatchRequestEntryList": "DeleteMessageBatchRequestEntry",
    "DeleteMessageBatchResultEntryList": "DeleteMessageBatchResultEntry",
    "ListMessageMoveTasksResultEntryList": "ListMessageMoveTasksResultEntry",
    "MessageAttributeNameList": "MessageAttributeName",
    "MessageList": "Message",
    "MessageSystemAttributeList": "MessageSystemAttributeName",
    "QueueUrlList": "QueueUrl",
    "SendMessageBatchRequestEntryList": "SendMessageBatchRequestEntry",
    "SendMessageBatchResultEntryList": "SendMessageBatchResultEntry",
    "TagKeyList": "TagKey",
}
_ELEMENT_OF_MAP = {
    "MessageBodyAttributeMap": ("MessageAttribute", "Name"),
    "MessageBodySystemAttributeMap": ("MessageSystemAttribute", "Name"),
    "MessageSystemAttributeMap": ("Attribute", "Name"),
    "QueueAttributeMap": ("Attribute", "Name"),
    "TagMap": ("Tag", "Key"),
}


class _QueryLoader(Loader):
    """Loads the model of SQS as it was when SDKs spoke the query protocol."""

    # Any: the model is a tree of JSON, as botocore's own loader returns it.
    def load_service_model(
        self, service_name: str, type_name: str, api_version: str | None = None
    ) -> Any:
        model = super().load_service_model(service_name, type_name, api_version)
        if (service_name, type_name) != ("sqs", "service-2"):
            return model
        model = deepcopy(model)
        model["metadata"] |= {"protocol": "query", "protocols": ["query"]}
        del model["metadata"]["awsQueryCompatible"]
        shapes = model["shapes"]
        for shape in list(shapes.values()):
            for member in shape.get("members", {}).values():
                if names := _ELEMENT_OF_MAP.get(member["shape"]):
                    member["locationName"] = names[0]
        for name, element in _ELEMENT_OF_LIST.items():
            shapes[name]["member"]["locationName"] = element
        for name, (_, key) in _ELEMENT_OF_MAP.items():
            shapes[name]["key"]["locationName"] = key
            shapes[name]["value"]["locationName"] = "Value"
        for operation in model["operations"].values():
            if "output" in operation:
                operation["output"]["resultWrapper"] = f"{operation['name']}Result"
        return model


@cache
def _session(protocol: Protocol) -> AioSession:
    """Return a session of the protocol; reading the models is what takes the time."""
    session = AioSession()
    if protocol == "query":
        session.register_component(
            "data_loader", _QueryLoader(session.get_config_variable("data_path"))
        )
    return session


@asynccontextmanager
async def plain_client(
    endpoint_url: str, protocol: Protocol = "json", *, signed_by_anyone: bool = True
) -> AsyncIterator[SQSClient]:
    """Open a client that tries each call once.

    Embedded servers take a signature by anyone; for others credentials come the standard way.
    """
    made_up = "test" if signed_by_anyone else None
    config = AioConfig(
        retries={"total_max_attempts": 1, "mode": "standard"}, read_timeout=60, connect_timeout=30
    )
    async with _session(protocol).create_client(
        "sqs",
        endpoint_url=endpoint_url,
        config=config,
        region_name="us-east-1" if signed_by_anyone else None,
        aws_access_key_id=made_up,
        aws_secret_access_key=made_up,
    ) as client:
        yield client
