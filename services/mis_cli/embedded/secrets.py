"""Generated secrets, each made once and kept in a file that only its owner may read."""

import base64
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path


def password() -> str:
    """Return a new password of 192 random bits, in letters that need no quoting anywhere."""
    return secrets.token_urlsafe(24)


def master_key() -> str:
    """Return a new first master key in the form of `MIS_MASTER_KEYS`."""
    return f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}"


def generated(file: Path, names: tuple[str, ...], make: Callable[[], str] = password) -> dict[str, str]:
    """Return a secret per name from the file, first making those that it lacks."""
    kept: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    missing = {name: make() for name in names if name not in kept}
    if missing:
        write_private(file, json.dumps({**kept, **missing}, indent=2))
    return {**kept, **missing}


def write_private(file: Path, text: str) -> None:
    """Replace the file's content at once, readable by its owner only from the first byte on."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as output:
        output.write(text)
        output.flush()
        os.fsync(output.fileno())
    draft.replace(file)
