"""One candidate as a server process of its own, on a processor of its own where there are two."""

import os
import socket
import sys

import uvicorn

from benchmarks.candidates import CANDIDATES, settings_from
from benchmarks.creation import CREATING
from benchmarks.signing_in import SIGNING_IN


def main() -> None:
    """Serve the candidate named by the first argument on the inherited socket, with settings from stdin."""
    name, descriptor = sys.argv[1], int(sys.argv[2])
    if len(os.sched_getaffinity(0)) == 1 and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {0})
    app = (CANDIDATES | CREATING | SIGNING_IN)[name](settings_from(sys.stdin.read()))
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


main()
