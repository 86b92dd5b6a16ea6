"""What the exit codes of `mis` mean."""

from typing import Final

# Something that was asked for was refused; what was not refused is done.
REFUSED: Final = 1
# Nothing was begun: the command, a file or a setting is not as it has to be.
CANNOT_START: Final = 2
# Something that we stand on is away; the same command may succeed later.
AWAY: Final = 3
# Stopped by Ctrl-C, as shells say it.
STOPPED: Final = 130
