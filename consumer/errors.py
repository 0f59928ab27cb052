"""Every error that the consumer raises on purpose.

Their texts are safe to print and to log: they name files, settings, columns, SQLSTATEs and error
codes, and never hold a raw value, a key, a password or a receipt handle.
"""


class ConsumerError(Exception):
    """What every error below is: its text says what is wrong, where, and what to do."""


class SettingsError(ConsumerError):
    """The settings contradict each other, or one is missing, unknown or of the wrong type."""


class KeyRingError(ConsumerError):
    """The key ring is missing, malformed, or is not the one that the database knows.

    `faults` has each thing that is wrong with it; the text has them all.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__(f"key ring: {'; '.join(faults)}")
        self.faults = faults


class KeySourceError(ConsumerError):
    """A call for the key ring failed: `operation` is AWS's name of it, `code` the error's.

    It is transient: the call may be made again after a pause. A refusal is a KeyRingError.
    """

    def __init__(self, operation: str, code: str) -> None:
        super().__init__(f"key ring: {operation}: {code}; try again")
        self.operation = operation
        self.code = code


class TokenError(ConsumerError):
    """A token was cut, tampered with, moved to another column, or names an unknown key."""


class NotATokenError(TokenError):
    """The text is no token at all, and so might be a raw value that was given by mistake."""


class QueueError(ConsumerError):
    """A call to the queue failed: `operation` is SQS's name of it, `code` the error's.

    As such it is transient: the call may be made again after a pause.
    """

    def __init__(self, operation: str, code: str, advice: str = "") -> None:
        super().__init__(f"{operation}: {code}" + (f" ({advice})" if advice else ""))
        self.operation = operation
        self.code = code


class QueueRefusedError(QueueError):
    """The queue does not exist, or these credentials may not use it: someone has to act."""


class DatabaseError(ConsumerError):
    """The database did not take a statement; it may be run again after a pause.

    `sqlstate` is the five-character code, or the driver's exception name where there is none.
    `advice` says what is wrong and what to do, where that is known.
    """

    def __init__(self, sqlstate: str, advice: str = "") -> None:
        super().__init__(f"database: {sqlstate}" + (f" ({advice})" if advice else ""))
        self.sqlstate = sqlstate
        self.advice = advice


class StatementTooSlowError(DatabaseError):
    """The statement took longer than it may. It may be committed or not; half of it may fit."""


class DatabaseRefusedError(DatabaseError):
    """A table, a column or a right is missing: someone has to act, and no data is touched."""


class DataRejectedError(DatabaseError):
    """At least one row of the statement was refused for its data, by a type, constraint or trigger.

    `column` is the column or constraint that PostgreSQL named, and `table` its table with the
    schema, quoted; None where it named none.
    """

    def __init__(self, sqlstate: str, column: str | None = None, table: str | None = None) -> None:
        super().__init__(sqlstate, f"column or constraint {column}" if column else "")
        self.column = column
        self.table = table
