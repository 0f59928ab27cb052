"""Where the key ring comes from, and how it gets there: only this knows of files and of AWS."""

from consumer.keysource.files import ring_change, write_new
from consumer.keysource.places import (
    Aws,
    Given,
    KeyFile,
    KeySource,
    KmsFile,
    RingFile,
    SecretsManager,
)
from consumer.keysource.sources import content_of, load_key_ring, read_ring, warnings_of

__all__ = [
    "Aws",
    "Given",
    "KeyFile",
    "KeySource",
    "KmsFile",
    "RingFile",
    "SecretsManager",
    "content_of",
    "load_key_ring",
    "read_ring",
    "ring_change",
    "warnings_of",
    "write_new",
]
