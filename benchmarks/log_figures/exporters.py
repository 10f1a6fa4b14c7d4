"""Clients that export in a loop: the load under which writes are measured.

*main.* `python -m log_figures.exporters PORT CLIENTS`; prints a line when all have had an answer.
"""

import sys
import threading

from log_figures.processes import Client


def _loop(port: int, answered: threading.Barrier) -> None:
    client = Client(port)
    client.request("GET", "/v1/configs/export")
    answered.wait()
    while True:
        client.request("GET", "/v1/configs/export")


def main() -> None:
    """Run until killed."""
    port, clients = int(sys.argv[1]), int(sys.argv[2])
    answered = threading.Barrier(clients + 1)
    threads = [threading.Thread(target=_loop, args=(port, answered)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    answered.wait()
    sys.stdout.write("exporting\n")
    sys.stdout.flush()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
