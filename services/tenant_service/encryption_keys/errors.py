"""The refusal of this feature.

ProblemError
└── KeyRotationInProgress 409
"""

from mis_tenancy.errors import ProblemError


class KeyRotationInProgress(ProblemError):
    """What lies under the key before the newest has not all been re-encrypted yet."""

    status = 409
    code = "key_rotation_in_progress"
    detail = "The last rotation still re-encrypts. GET …/encryption-keys shows when its old key is retired."
