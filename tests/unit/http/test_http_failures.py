"""Why an exchange has no answer, against real servers: each reason is plain, and has a next step."""

from __future__ import annotations

import datetime
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sluice.errors import EnvironmentFault
from sluice.http import HttpClient, Limits, NoAnswer, Unsendable, tls_context

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server of a test")])
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def certificate(folder: Path, ip: str = "127.0.0.1", start: datetime.datetime = NOW - DAY, days: int = 2) -> Path:
    """A file with a self-signed certificate for `ip` and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    built = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + days * DAY)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(ip))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    file = folder / "server.pem"
    file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + built.public_bytes(pem))
    return file


@contextmanager
def server(handle: Callable[[socket.socket], None], file: Path | None = None) -> Iterator[int]:
    """The port of a server that passes each connection to `handle`, over TLS if there is a certificate `file`."""
    listening = socket.create_server(("127.0.0.1", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if file is not None:
        context.load_cert_chain(file)

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            try:
                if file is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                handle(connection)
            except OSError:
                pass  # the client refuses the certificate
            finally:
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def answers(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.sendall(ANSWER)


def resets(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def closes_unread(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def refusal(url: str, headers: dict[str, str] | None = None) -> NoAnswer:
    client = HttpClient(Limits(deadline_s=5.0))
    with pytest.raises(NoAnswer) as refused:
        client.exchange("GET", url, headers or {})
    client.close()
    return refused.value


@pytest.fixture
def trusting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    def trust(file: Path) -> None:
        monkeypatch.setattr("sluice.http.client.tls_context", lambda: ssl.create_default_context(cafile=str(file)))

    return trust


def test_a_certificate_of_an_unknown_authority_is_not_trusted(tmp_path: Path) -> None:
    with server(answers, certificate(tmp_path)) as port:
        error = refusal(f"https://127.0.0.1:{port}/")
    assert str(error).startswith("the certificate of the server is not trusted (self-signed certificate")
    assert "SSL_CERT_FILE" in error.next_step


@pytest.mark.parametrize(
    ("ip", "start", "reason"),
    [
        ("127.0.0.1", NOW - 9 * DAY, "the certificate of the server has expired"),
        ("127.0.0.1", NOW + DAY, "the certificate of the server is not valid yet"),
        ("127.0.0.2", NOW - DAY, "the certificate of the server is for another host"),
    ],
)
def test_a_certificate_that_is_not_valid_says_why(
    tmp_path: Path, trusting: Callable[[Path], None], ip: str, start: datetime.datetime, reason: str
) -> None:
    file = certificate(tmp_path, ip, start)
    trusting(file)
    with server(answers, file) as port:
        error = refusal(f"https://127.0.0.1:{port}/")
    assert str(error) == reason
    assert error.next_step


def test_a_trusted_certificate_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    tls_context.cache_clear()
    try:
        with server(answers, file) as port:
            client = HttpClient(Limits())
            assert client.exchange("GET", f"https://127.0.0.1:{port}/", {}).body == b"ok"
            client.close()
    finally:
        tls_context.cache_clear()


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_file_of_authorities_that_is_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    tls_context.cache_clear()
    try:
        with pytest.raises(EnvironmentFault, match=r"SSL_CERT_FILE: .*authorities.pem is no file with certificates"):
            HttpClient(Limits()).exchange("GET", "https://127.0.0.1:1/", {})
    finally:
        tls_context.cache_clear()


def test_a_port_without_tls_is_named_as_such() -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with server(plain) as port:
        error = refusal(f"https://127.0.0.1:{port}/")
    assert str(error) == "no connection: the server does not speak TLS at this port"
    assert "correct the port" in error.next_step


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_reset_is_a_connection_that_the_server_closed(scheme: str) -> None:
    with server(resets if scheme == "http" else closes_unread) as port:
        error = refusal(f"{scheme}://127.0.0.1:{port}/")
    assert str(error) == "the server closed the connection"
    assert not error.next_step


def test_what_has_no_connection_says_why() -> None:
    with server(answers) as port:
        pass
    assert str(refusal(f"http://127.0.0.1:{port}/")) == "no connection: it is refused"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1/?q=\x01", "contains a control character"),
        ("http://127.0.0.1/" + "a" * 66_000, "is longer than 65535 characters"),
        ("http://127.0.0.1:99999/", "has a port that is no number from 1 to 65535"),
        ("http://127.0.0.1:x/", "has a port that is no number from 1 to 65535"),
        ("http://127.0.0.1:0/", "has a port that is no number from 1 to 65535"),
        ("http://127.0.0.1/\ud83d", "contains half of a surrogate pair"),
        ("http://[::1", "is no address"),
        ("http://a b/", "has a host whose name is not valid"),
        (f"http://{'a' * 70}.com/", "has a host whose name has an empty part, or one of more than 63 characters"),
        ("http://a..b/", "has a host whose name has an empty part, or one of more than 63 characters"),
        ("ftp://h/", "does not begin with http:// or https:// and the name of a host"),
        ("http:///x", "does not begin with http:// or https:// and the name of a host"),
    ],
)
def test_an_address_to_which_nothing_can_be_sent_says_why(url: str, reason: str) -> None:
    assert str(refusal(url)) == f"the address {reason}"


@pytest.mark.parametrize("headers", [{"X": "é"}, {"X": "a\nb"}, {"X": " q-9"}, {"X": "q-9 "}, {"X": "a\0"}])
def test_a_header_that_http_does_not_allow_is_named_without_its_value(headers: dict[str, str]) -> None:
    error = refusal("http://127.0.0.1:1/", headers)
    assert isinstance(error, Unsendable)
    assert error.header == "X"
    assert headers["X"] not in str(error)
