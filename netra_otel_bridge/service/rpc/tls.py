"""Set up TLS for the gRPC server."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any

import grpc

from netra_otel_bridge.config.settings import Settings
from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.core.hosts import is_loopback

_log = logging.getLogger(__name__)


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """Return TLS as configured; ``None`` for plain text, allowed on loopback only. Raises `ConfigurationError`."""
    certificate, key, ca = settings.grpc_certificate, settings.grpc_key, settings.grpc_client_ca
    if certificate is None or key is None:
        if certificate is not None or key is not None or ca is not None:
            raise ConfigurationError(
                "TLS of the gRPC service needs both a certificate and its key",
                hint="set NETRA_BRIDGE_GRPC_CERTIFICATE and NETRA_BRIDGE_GRPC_KEY",
            )
        if not is_loopback(settings.grpc_host):
            raise ConfigurationError(
                f"the gRPC service would be open to other machines at {settings.grpc_host} without TLS",
                hint="set NETRA_BRIDGE_GRPC_CERTIFICATE and NETRA_BRIDGE_GRPC_KEY, or let it listen on 127.0.0.1",
            )
        return None
    files = _TlsFiles(certificate, key, ca)
    try:
        first = files.read()
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            f"cannot set up TLS of the gRPC service: {error}",
            hint="grpc_certificate, grpc_key and grpc_client_ca name PEM files that belong together",
        ) from None
    renewed: Any = files.renewed
    return grpc.dynamic_ssl_server_credentials(first, renewed, ca is not None)


class _TlsFiles:
    """The certificate files, read again at the next connection after a renewal."""

    def __init__(self, certificate: str, key: str, ca: str | None) -> None:
        self._paths = [Path(path).expanduser() for path in (certificate, key, *([ca] if ca is not None else []))]
        self._read: list[tuple[int, int]] = []

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Read the files. Raises ``OSError``, ``ssl.SSLError`` for a key of another certificate, ``ValueError``."""
        self._read = self._stamps()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._paths[0], self._paths[1])
        certificate, key, *ca = [path.read_bytes() for path in self._paths]
        if ca:
            context.load_verify_locations(cadata=ca[0].decode())
        return grpc.ssl_server_certificate_configuration([(key, certificate)], ca[0] if ca else None)

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what to use from now on, ``None`` for no change. gRPC calls this at each connection, on any thread."""
        try:
            if self._stamps() == self._read:
                return None
            return self.read()
        except (OSError, ssl.SSLError, ValueError) as error:
            _log.warning("gRPC: cannot use the changed TLS files, keeping the previous ones: %s", error)
            return None

    def _stamps(self) -> list[tuple[int, int]]:
        return [(found.st_mtime_ns, found.st_ino) for found in (path.stat() for path in self._paths)]
