"""What a refused call is refused with."""

from collections.abc import Awaitable

import pytest
from botocore.exceptions import ClientError

INVALID_PARAMETER = "InvalidParameterValue"
MISSING_PARAMETER = "MissingParameter"
NO_QUEUE = "AWS.SimpleQueueService.NonExistentQueue"


async def refusal(call: Awaitable[object]) -> str:
    """Return the error code with which a call fails."""
    with pytest.raises(ClientError) as error:
        await call
    return error.value.response["Error"]["Code"]
