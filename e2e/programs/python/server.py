# SPDX-License-Identifier: Apache-2.0
"""Python's own http.server with a thread that prints the clocks.

It answers GET with the number of requests served so far, and prints the port
that it listens on as "port N".
"""

import http.server

import clock


class Handler(http.server.BaseHTTPRequestHandler):
    """Counts requests."""

    served = 0

    def do_GET(self):  # pylint: disable=invalid-name
        """Answers with the count, so that lost state would show."""
        Handler.served += 1
        body = str(Handler.served).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keeps standard error quiet."""


def main():
    """Serves on a free port until killed."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print("port", server.server_address[1], flush=True)
    clock.start()
    server.serve_forever()


main()
