"""What keeps a backup or a restoration from being.

BackupError
├── BackupRefused: nothing was begun
└── BackupFailed: it was begun, and nothing of it is left that looks whole
"""


class BackupError(RuntimeError):
    """The message says what is in the way and what to do."""


class BackupRefused(BackupError):
    """Nothing was begun."""


class BackupFailed(BackupError):
    """It did not come to its end, or what came out is not what went in."""
