"""The audit record: keys, where records go, and when a release may go on."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from service.settings.shapes import Count, File, Name, Section, Some

_PATH_IFF_NOT_STDOUT: dict[str, Any] = {
    "if": {"properties": {"type": {"const": "stdout"}}},
    "then": {"properties": {"path": {"type": "null"}}},
    "else": {"required": ["path"], "properties": {"path": {"type": "string"}}},
}


class Sink(Section):
    """One place that records go to."""

    model_config = ConfigDict(json_schema_extra=_PATH_IFF_NOT_STDOUT)

    name: Name
    """What metrics and records call it."""
    type: Literal["stdout", "file", "unix"]
    """Standard output, a file, or a unix socket."""
    path: File | None = None
    """Where the file or socket is."""
    deadline: Annotated[float, Field(gt=0, le=10)] = 0.05
    """Seconds in which it must accept a record."""
    durability: Literal["os", "disk"] = "os"
    """disk (files only): a record is on disk before the token is out."""
    disk_deadline: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Seconds instead of deadline with durability disk."""
    rotate_bytes: Annotated[int, Field(ge=65_536, le=1_099_511_627_776)] = 268_435_456
    """Octets after which a file is rotated."""
    queue: Count = 10_000
    """Records that may wait for it."""


class Audit(Section):
    """No record, no release."""

    accept: Literal["any", "all"] = "any"
    """How many sinks must have accepted a record before the release."""
    key_files: Some[File]
    """Base64 of 32 octets or more each, newest first; they fingerprint users and tokens."""
    sinks: Some[Sink] = (Sink(name="stdout", type="stdout"),)
    """Where records go."""
