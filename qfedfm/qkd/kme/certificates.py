"""Certificates for trying things out: an authority of one's own, key managers and applications.

A key manager's certificate serves and calls; an application's (SAE) calls only. The common name is the identity.
Whoever holds ``ca.key`` can make any identity: keep it off the machines that serve, or delete it.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.kme.settings import HOST, NAME
from qfedfm.qkd.kme.tls import Credentials
from qfedfm.qkd.vault import MasterKey, write_private

_DAYS = 365


@dataclass(frozen=True)
class Authority:
    """An authority whose certificates one party of a trial accepts.

    Args:
        folder: holds ``ca.crt`` and, as long as the authority is here, ``ca.key``.
        certificate: its own.
        key: signs.
    """

    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, folder: Path, name: str = "qfedfm test authority") -> Authority:
        """A new authority in a folder.

        Raises:
            ConfigError: the folder holds one already, or cannot be written.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(name)
        builder = (
            _builder(subject, subject, key.public_key(), key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
        )
        certificate = builder.sign(key, SHA256())
        _write(folder / "ca", certificate, key)
        return cls(folder, certificate, key)

    def issue(self, name: str, host: str | None = None) -> Credentials:
        """A certificate and its private key (mode 600) in the folder.

        Args:
            name: the identity; the common name.
            host: address of a key manager, which its certificate names beside its identity; None for an application,
                whose certificate cannot serve.

        Raises:
            ConfigError: the name is none, or the files are there already.
        """
        if not (NAME if host is None else HOST).fullmatch(name):
            expected = "letters, digits and ._:@-, 64 at most; for a key manager a name that a host can have"
            raise ConfigError(f"the name {name!r}", expected)
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if host is not None else [])]
        builder = (
            _builder(_subject(name), self.certificate.subject, key.public_key(), self.key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        )
        if host is not None:
            names = x509.SubjectAlternativeName([x509.DNSName(name), _general(host)])
            builder = builder.add_extension(names, critical=False)
        _write(self.folder / name, builder.sign(self.key, SHA256()), key)
        return Credentials(*(self.folder / file for file in (f"{name}.crt", f"{name}.key", "ca.crt")))


def trial(folder: Path, managers: Mapping[str, Sequence[str]], host: str = "127.0.0.1", port: int = 8443) -> list[Path]:
    """Everything for a trial: an authority, certificates, master keys, and the settings of each key manager.

    Args:
        folder: made where it is missing.
        managers: names of applications by name of the key manager that serves them.
        host: address of all key managers.
        port: of the first; the others follow.

    Returns:
        The settings files, for ``qfedfm kme serve``.

    Raises:
        ConfigError: fewer than two key managers, a name twice, or a file that is there already.
    """
    names = [*managers, *(sae for saes in managers.values() for sae in saes)]
    if len(managers) < 2 or len(set(names)) != len(names):
        raise ConfigError(
            f"{len(managers)} key managers, names {', '.join(names)}", "at least two, all names different"
        )
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority.create(folder)
    places = {name: f"{host}:{port + number}" for number, name in enumerate(managers)}
    for name, saes in managers.items():
        authority.issue(name, host)
        MasterKey.create(folder / f"{name}.master")
        for sae in saes:
            authority.issue(sae)
    written = []
    for name, saes in managers.items():
        peers = {other: saes for other, saes in managers.items() if other != name}
        path = folder / f"{name}.toml"
        write_private(path, _settings(name, saes, places, peers).encode())
        written.append(path)
    return written


def _settings(name: str, saes: Sequence[str], places: Mapping[str, str], peers: Mapping[str, Sequence[str]]) -> str:
    lines = [f'id = "{name}"', f'listen = "{places[name]}"', f"saes = {_list(saes)}", f'certificate = "{name}.crt"']
    lines += [f'key = "{name}.key"', 'ca = "ca.crt"', f'store = "{name}.sqlite"', f'master_key = "{name}.master"']
    for other, theirs in peers.items():
        lines += ["", "[[peers]]", f'id = "{other}"', f'url = "https://{places[other]}"', f"saes = {_list(theirs)}"]
    return "\n".join(lines) + "\n"


def _list(names: Sequence[str]) -> str:
    return f"[{', '.join(f'{chr(34)}{name}{chr(34)}' for name in names)}]"


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _write(stem: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(stem.with_name(f"{stem.name}.key"), secret)
    stem.with_name(f"{stem.name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
