"""Certificates of a run: an authority, pairs that are made anew while an edge serves, and what a handshake shows."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from pathlib import Path

# Pairs by the name of their files, and the host that each is for.
HOSTS = {"main": "localhost", "more/more": "more.localhost"}


class Pairs:
    """An authority, and pairs of certificate and key that it signs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "more").mkdir()
        self._openssl("req", "-x509", *self._new_key("ca"), "-days", "300", "-subj", "/CN=Authority of a run",
                      "-out", str(folder / "ca.crt"))
        for name in (*HOSTS, "foreign"):
            self.rotate(name)

    @staticmethod
    def _openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True)

    def _new_key(self, name: str) -> list[str]:
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", str(self.folder / f"{name}.key")]

    def rotate(self, name: str) -> None:
        """A new pair, moved into the place of the old one, the key first."""
        host = HOSTS.get(name, "foreign.localhost")
        new = self.folder / "new"
        self._openssl("req", *self._new_key("new"), "-subj", f"/CN={host}", "-out", f"{new}.csr")
        (self.folder / "new.ext").write_text(f"subjectAltName=DNS:{host}\nextendedKeyUsage=serverAuth\n")
        self._openssl("x509", "-req", "-in", f"{new}.csr", "-CA", str(self.folder / "ca.crt"),
                      "-CAkey", str(self.folder / "ca.key"), "-CAcreateserial", "-days", "200",
                      "-extfile", f"{new}.ext", "-out", f"{new}.crt")
        os.replace(f"{new}.key", self.folder / f"{name}.key")
        os.replace(f"{new}.crt", self.folder / f"{name}.pem")

    def context(self, protocol: str) -> ssl.SSLContext:
        """A client that believes the authority."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.set_alpn_protocols([protocol])
        return context

    def is_served(self, name: str, port: int) -> bool:
        """Whether a handshake shows the certificate that lies on disk."""
        wanted = ssl.PEM_cert_to_DER_cert((self.folder / f"{name}.pem").read_text())
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as raw:
                with self.context("http/1.1").wrap_socket(raw, server_hostname=HOSTS[name]) as stream:
                    return stream.getpeercert(binary_form=True) == wanted
        except OSError:
            return False
