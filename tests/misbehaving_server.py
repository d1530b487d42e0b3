"""A loopback server that misbehaves in the way that the address names."""

import datetime
import ssl
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

CONTENT = b"hello\n"


@dataclass(frozen=True)
class Fault:
    """What a client says in the end of one way of misbehaving, and how often it asks before."""

    message: str
    asked: int


# By the address's path.
FAULTS = {
    "error-page": Fault("expected SHA-256 .*; the server sent a page", 1),
    "other-bytes": Fault("expected SHA-256", 1),
    "cut-off": Fault("broke off 3 times", 3),
    "cut-off-in-chunks": Fault("broke off 3 times", 3),
    "cut-off-without-length": Fault("expected SHA-256 .* \\(3 bytes\\)", 1),
    "never-ends": Fault("sends more than 0.005 GB", 1),
    "never-ends-in-chunks": Fault("sends more than 0.005 GB", 1),
    "too-long": Fault("says that it sends 9,000,000,000,000 bytes", 1),
    "trickles": Fault("was too slow 3 times: .* bytes came in", 3),
    "silent": Fault("broke off 3 times: .*timed out", 3),
    "headers-trickle": Fault("was too slow 3 times: .* bytes came in", 3),
    "trailers-trickle": Fault("was too slow 3 times: .* bytes came in", 3),
    "interim-answers-without-end": Fault("sends more than 0.005 GB", 1),
    "trailers-without-end": Fault("sends more than 0.005 GB", 1),
    "length-abc": Fault("Content-Length: 'abc'", 1),
    "length-negative": Fault("Content-Length: '-6'", 1),
    "length-of-5000-digits": Fault("Content-Length: '9{200}'", 1),
    "retry-after-a-day": Fault("answers 503", 5),
    "retry-after-a-date": Fault("answers 429", 5),
    "retry-after-nonsense": Fault("answers 429", 5),
    "retry-after-no-zone": Fault("answers 429", 5),
    "429": Fault("answers 429", 5),
    "503": Fault("answers 503", 5),
    "404": Fault("answers 404", 1),
    "206": Fault("answers 206", 1),
    "redirect-to-plain": Fault("redirects to http://example.org/file, which is not an https address", 1),
    "redirect-to-a-file": Fault("redirects to file:///etc/hostname, which is not an https address", 1),
    "redirect-to-itself": Fault("redirects more than 5 times", 6),
    "redirect-without-end": Fault("redirects to http://example.org/file, which is not an https address", 1),
    "redirect-to-no-name": Fault("redirects to what is no address: Invalid IPv6 URL", 1),
    "redirect-to-no-port": Fault("redirects to what is no address: Port out of range", 1),
    "redirect-to-no-text": Fault("redirects to what is no address: 'utf-8' codec", 1),
    "redirect-to-a-long-label": Fault("could not be fetched: Failed to parse", 1),
    "no-http": Fault("could not be fetched 3 times", 3),
}
_REDIRECTS = {
    "redirect-to-plain": "http://someone:pa55word@example.org/file",
    "redirect-to-a-file": "file:///etc/hostname",
    "redirect-to-itself": "/redirect-to-itself",
    "redirect-to-no-name": "https://someone:pa55word@[example.org/file",
    "redirect-to-no-port": "https://someone:pa55word@example.org:99999/file?token=pa55word",
    "redirect-to-no-text": "https://example.org/\xff",
    "redirect-to-a-long-label": f"https://{'a' * 64}.org/file",
}
_HEADERS = {
    "retry-after-a-day": (503, "86400"),
    "retry-after-a-date": (429, "Fri, 31 Dec 2999 23:59:59 GMT"),
    "retry-after-nonsense": (429, "soon"),
    "retry-after-no-zone": (429, f"Fri, 31 Dec 2999 23:59:59 +{'9' * 20}"),
}
_STATUSES = {"429", "503", "404", "206"}


class Misbehaving(ThreadingHTTPServer):
    """The server, while it is entered.

    Args:
        key: of a certificate, to speak https; without, it speaks http.
        certificate: for ``localhost``.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, key: Path | None = None, certificate: Path | None = None):
        super().__init__(("127.0.0.1", 0), _Handler)
        if key is not None and certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.asked: list[str] = []
        self.faults = 1000  # how many answers are faulty
        self.redirect = ""
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def port(self) -> int:
        return self.server_port

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def __enter__(self) -> "Misbehaving":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that go away."""


class _Handler(BaseHTTPRequestHandler):
    server: Misbehaving

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        fault = self.path.strip("/").partition("?")[0]
        with suppress(OSError):  # the client has gone away
            if fault == "redirect":
                self._head(302, {"Location": self.server.redirect})
            elif fault == "whole" or len(self.server.asked) > self.server.faults:
                self._head(200, {"Content-Length": str(len(CONTENT))})
                self.wfile.write(CONTENT)
            else:
                self._misbehave(fault)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _misbehave(self, fault: str) -> None:
        whole = {"Content-Length": str(len(CONTENT))}
        if fault in _REDIRECTS:
            self._head(302, {"Location": _REDIRECTS[fault], "Content-Length": "0"})
        elif fault in _HEADERS:
            status, retry_after = _HEADERS[fault]
            self._head(status, {"Retry-After": retry_after, "Content-Length": "0"})
        elif fault in _STATUSES:
            self._head(int(fault), whole)
            self.wfile.write(CONTENT)
        elif fault == "error-page":
            self._head(200, {"Content-Type": "text/html; charset=utf-8"})
            self.wfile.write(b"<html>Sorry, something went wrong.</html>")
        elif fault == "other-bytes":
            self._head(200, whole)
            self.wfile.write(b"jello\n")
        elif fault == "cut-off":
            self._head(200, whole)
            self.wfile.write(CONTENT[:3])
        elif fault == "cut-off-without-length":
            self._head(200, {})
            self.wfile.write(CONTENT[:3])
        elif fault == "too-long":
            self._head(200, {"Content-Length": "9000000000000"})
        elif fault == "length-abc":
            self._head(200, {"Content-Length": "abc"})
            self.wfile.write(CONTENT)
        elif fault == "length-of-5000-digits":
            self._head(200, {"Content-Length": "9" * 5000})
        elif fault == "length-negative":
            self._head(200, {"Content-Length": "-6"})
            self.wfile.write(CONTENT)
        elif fault == "no-http":
            self.wfile.write(b"\x00\x01\x02 hello\r\n\r\n")
        else:
            self._without_end(fault)

    def _without_end(self, fault: str) -> None:
        if fault == "never-ends":
            self._head(200, {})
            while True:
                self.wfile.write(bytes(100_000))
        elif fault == "trickles":
            self._head(200, {"Content-Length": "100000"})
            while True:
                self.wfile.write(b"h")
                Event().wait(0.05)
        elif fault == "headers-trickle":
            self.send_response(200)
            self.flush_headers()
            while True:
                self.wfile.write(b"h")
                Event().wait(0.05)
        elif fault == "interim-answers-without-end":
            while True:
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
        elif fault == "redirect-without-end":
            self._head(302, {"Location": "http://example.org/file"})
            while True:
                self.wfile.write(bytes(100_000))
        elif fault in ("trailers-trickle", "trailers-without-end"):
            self.protocol_version = "HTTP/1.1"
            self._head(200, {"Transfer-Encoding": "chunked"})
            self.wfile.write(b"6\r\nhello\n\r\n0\r\n")
            while True:
                self.wfile.write(b"a: b\r\n" * (1 if fault == "trailers-trickle" else 10_000))
                Event().wait(0.05 if fault == "trailers-trickle" else 0)
        elif fault == "silent":
            self._head(200, {"Content-Length": str(len(CONTENT))})
            Event().wait(4)
        elif fault == "never-ends-in-chunks":
            self.protocol_version = "HTTP/1.1"
            self._head(200, {"Transfer-Encoding": "chunked"})
            while True:
                self.wfile.write(b"%x\r\n%b\r\n" % (100_000, bytes(100_000)))
        elif fault == "cut-off-in-chunks":
            self.protocol_version = "HTTP/1.1"
            self._head(200, {"Transfer-Encoding": "chunked"})
            self.wfile.write(b"6\r\nhel")
            self.close_connection = True
        else:
            raise ValueError(f"no such fault: {fault}")


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Write a key, and a certificate of it for ``localhost``, into a folder; return both files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "key.pem", folder / "certificate.pem"
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    files[0].write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    files[1].write_bytes(certificate.public_bytes(encoding))
    return files
