"""The texts in consumer/postgres/sql, and the quoting of names."""

from importlib.resources import files


def load(name: str) -> str:
    """The text of a file of consumer/postgres/sql."""
    return (files("consumer.postgres") / "sql" / name).read_text(encoding="utf-8")


def migrations() -> tuple[tuple[int, str, str], ...]:
    """Number, file name and text of each migration, in order."""
    found = sorted(
        (files("consumer.postgres") / "sql" / "migrations").iterdir(), key=lambda path: path.name
    )
    return tuple(
        (int(path.name.split("_", 1)[0]), path.name, path.read_text(encoding="utf-8"))
        for path in found
        if path.name.endswith(".sql")
    )


def identifier(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal; for names of the model where no parameter may stand."""
    return "'" + text.replace("'", "''") + "'"


def quoted(table: str) -> str:
    """A table's name, with or without its schema, as SQL."""
    return ".".join(identifier(part) for part in table.split("."))
