"""A local HTTP server with a few files, and the faults that real ones have."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class FileServer:
    """Serves `files`, by path ("/a.jar"), at `url`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.cut: int | None = None
        """Every answer breaks off after so many bytes."""
        self.status: int | None = None
        """Every answer is this refusal."""
        self.says_size = True
        self.shift = 0
        """Parts begin so many bytes later than asked for."""
        self.asked: list[str | None] = []
        """The Range of each request."""
        self.sent = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        # A client that goes away is part of the tests.
        self._server.handle_error = lambda request, client: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.asked.append(wanted)
        content = self.files.get(handler.path)
        if content is None or self.status:
            handler.send_response(self.status or 404)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        body, status = content, 200
        if wanted and self.ranges:
            first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", wanted).groups())  # type: ignore[union-attr]
            first += self.shift
            body, status = content[first : last + 1], 206 if first < len(content) else 416
        handler.send_response(status)
        if status == 206:
            handler.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(content)}")
        if self.says_size:
            handler.send_header("Content-Length", str(len(body)))
        else:
            handler.send_header("Connection", "close")
        handler.end_headers()
        sent = body[: self.cut]
        try:
            handler.wfile.write(sent)
        except OSError:  # the reader has enough
            handler.close_connection = True
        self.sent += len(sent)
        if len(sent) < len(body):
            handler.close_connection = True

    def __enter__(self) -> "FileServer":
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Let the address be one where nobody answers."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
