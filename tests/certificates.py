"""Certificates for the TLS listeners of test brokers, made by openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

# Spelled out, since the defaults of openssl differ between systems, and since
# Python 3.13 verifies strictly (RFC 5280: key usage, key identifiers).
CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = test
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Certificates:
    ca_file: Path
    server: Pair  # for localhost and 127.0.0.1
    wrong_name: Pair  # for another host
    client: Pair  # its key is encrypted with `client_key_password`
    client_key_password: str = "secret"


def make_certificates(directory: Path) -> Certificates:
    """Make a certificate authority and what it signs, in `directory`."""

    def openssl(*arguments: str) -> None:
        result = subprocess.run(
            ["openssl", *arguments],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"openssl {arguments}:\n{result.stdout}"

    def signed(name: str, usage: str, names: str, *cipher: str) -> Pair:
        extra = f"extendedKeyUsage = {usage}\nsubjectAltName = {names}\n"
        config = directory / f"{name}.cnf"
        config.write_text(CONFIG + extra)
        key, request, cert = f"{name}.key", f"{name}.csr", f"{name}.crt"
        openssl(*NEW_KEY, "-out", key, *cipher)
        openssl("req", "-new", "-config", config.name, "-subj", f"/CN={name}",
                "-key", key, "-passin", "pass:secret", "-out", request)  # fmt: skip
        openssl("x509", "-req", "-in", request, "-days", "30", "-out", cert,
                "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-extfile", config.name, "-extensions", "leaf")  # fmt: skip
        return Pair(directory / cert, directory / key)

    (directory / "ca.cnf").write_text(CONFIG)
    openssl(*NEW_KEY, "-out", "ca.key")
    openssl("req", "-x509", "-new", "-config", "ca.cnf", "-extensions", "ca",
            "-subj", "/CN=aiomqtt test authority", "-days", "30",
            "-key", "ca.key", "-out", "ca.crt")  # fmt: skip
    encrypted = ("-aes256", "-pass", "pass:secret")
    return Certificates(
        ca_file=directory / "ca.crt",
        server=signed("localhost", "serverAuth", "DNS:localhost, IP:127.0.0.1"),
        wrong_name=signed("wrong", "serverAuth", "DNS:wrong.example"),
        client=signed("client", "clientAuth", "DNS:client.example", *encrypted),
    )


# Elliptic keys, because making RSA keys takes a second each.
NEW_KEY = ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
