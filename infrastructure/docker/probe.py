"""What containers' health checks run: it ends with 0 where the URL given to it answers well."""

import sys
from urllib.request import urlopen

urlopen(sys.argv[1], timeout=4).close()  # noqa: S310  # the compose file's own URL
