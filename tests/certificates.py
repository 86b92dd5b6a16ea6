"""A certificate authority of a test's own, what servers get from it, and what clients trust it by."""

import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_HOUR = timedelta(hours=1)


class Authority:
    """Vouches for names and addresses; `file` is its own certificate."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        # A name of its own, by which a client tells it from another one.
        self._name = _named(f"Authority {x509.random_serial_number():x}"[:40])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        own = _builder(self._name, self._key, _HOUR).add_extension(constraints, critical=True)
        self.file = directory / "authority.pem"
        self.file.write_bytes(_pem(self._signed(own)))

    def issue(self, *names: str, lasting: timedelta = _HOUR) -> Path:
        """Return a file with a certificate that is good for `names`, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names_of = x509.SubjectAlternativeName([_general(name) for name in names])
        wanted = _builder(_named(names[0]), key, lasting).add_extension(names_of, critical=False)
        signed = self._signed(wanted)
        file = self._directory / f"{signed.serial_number:x}.pem"
        file.touch(mode=0o600)
        file.write_bytes(_pem(signed) + _private(key))
        return file

    def serving(self, *names: str, lasting: timedelta = _HOUR) -> ssl.SSLContext:
        """Return what a server that is called by `names` speaks TLS with."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.issue(*names, lasting=lasting))
        return context

    @property
    def trusting(self) -> ssl.SSLContext:
        """What a client trusts this authority by, and no other."""
        return ssl.create_default_context(cafile=str(self.file))

    def _signed(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        return builder.issuer_name(self._name).sign(self._key, hashes.SHA256())


def _builder(name: x509.Name, key: ec.EllipticCurvePrivateKey, lasting: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * _HOUR)
        .not_valid_after(now + lasting)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(name))
    return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain)
