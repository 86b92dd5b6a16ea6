"""The locks: every package by its hashes, in one version, from wherever a machine gets its packages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-verification.lock"]
_PINNED = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ; ([^\\]+?))? \\$", re.MULTILINE)


def pinned(lock: Path) -> dict[tuple[str, str], str]:
    return {(name, marker): version for name, version, marker in _PINNED.findall(lock.read_text())}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.name))
def test_a_lock_names_hashes_and_no_address(lock: Path) -> None:
    """Catalogue 147."""
    text = lock.read_text()
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if entry.strip()]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_what_reads_documents_goes_with_the_rest_of_the_suite() -> None:
    """Catalogue 147."""
    suite, reading = (pinned(lock) for lock in LOCKS)
    assert reading.keys() & suite.keys()
    assert {
        key: (suite[key], reading[key]) for key in suite.keys() & reading.keys() if suite[key] != reading[key]
    } == {}
    assert {"rapidocr", "onnxruntime"} <= {name for name, _ in reading}
