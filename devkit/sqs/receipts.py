"""Receipt handles: opaque to receivers, new on each receive, good for one queue."""

import struct
from binascii import Error, a2b_base64, b2a_base64
from dataclasses import dataclass

from devkit.sqs.errors import RECEIPT_HANDLE_IS_INVALID, SqsError

_LAYOUT = struct.Struct(">8sQI")


@dataclass(frozen=True, slots=True)
class Receipts:
    """Makes and reads the handles of one queue; `mark` is eight bytes that no other queue has."""

    mark: bytes

    def issue(self, key: int, receive_count: int) -> str:
        """Return the handle for one receive of a message."""
        packed = _LAYOUT.pack(self.mark, key, receive_count)
        return b2a_base64(packed, newline=False).decode("ascii")

    def read(self, handle: str) -> tuple[int, int]:
        """Return the key and the receive count of a handle of this queue.

        Raises:
            SqsError: it is no handle, or another queue's.
        """
        try:
            mark, key, receive_count = _LAYOUT.unpack(a2b_base64(handle, strict_mode=True))
        except (Error, ValueError, struct.error):
            mark, key, receive_count = b"", 0, 0
        if mark != self.mark:
            raise SqsError(RECEIPT_HANDLE_IS_INVALID, "The input receipt handle is invalid.")
        return key, receive_count
