"""The simplest transform: a body is a row of itself, and `bad` is quarantined."""

from collections.abc import Sequence

from consumer.messages import Message, Outcome, Quarantined, Reason, Row


class PlainTransform:
    """Implements the pipeline's Transform."""

    def each(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        return [self._of(message) for message in messages]

    def _of(self, message: Message) -> Outcome:
        if message.body == "bad":
            return self.quarantine(message, Reason.NOT_JSON, None)
        return Row(message, (message.body,))

    def quarantine(self, message: Message, reason: Reason, field_name: str | None) -> Quarantined:
        return Quarantined(message, reason, field_name, "k1", b"sealed")
