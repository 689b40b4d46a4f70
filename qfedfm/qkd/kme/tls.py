"""Mutual TLS: both sides show a certificate of the authority that the operator names, and no other is trusted."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qfedfm.core.errors import ConfigError

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only. TLS 1.3 has no others."""


@dataclass(frozen=True)
class Credentials:
    """Paths of a party's certificate, its private key, and the authority whose certificates it accepts (all PEM)."""

    certificate: Path
    key: Path
    ca: Path

    def server(self) -> ssl.SSLContext:
        """TLS 1.2 at least; a client without a certificate of the authority does not get through the handshake.

        Raises:
            ConfigError: a file cannot be read or does not fit the others.
        """
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0  # no session outlives its connection, so that every one shows its certificate
        return context

    def client(self) -> ssl.SSLContext:
        """TLS 1.2 at least; the server's certificate must be the authority's and name the host.

        Raises:
            ConfigError: a file cannot be read or does not fit the others.
        """
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.ca)
        except OSError as error:  # of which SSLError is one
            given = f"the certificates {self.certificate}, {self.key} and {self.ca} ({error.strerror or 'not PEM'})"
            remedy = "see `qfedfm kme certificates`"
            raise ConfigError(given, "a certificate, its private key and its authority", remedy) from None
        return context


def common_name(certificate: Mapping[str, Any] | None) -> str | None:
    """The one common name of a certificate that `ssl` has verified; None where it has none or several.

    Example:
        >>> common_name({"subject": ((("organizationName", "o"),), (("commonName", "sae-a"),))})
        'sae-a'
    """
    parts = (certificate or {}).get("subject", ())
    names = [str(value) for part in parts for name, value in part if name == "commonName"]
    return names[0] if len(names) == 1 else None
