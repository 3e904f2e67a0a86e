"""What memory is not wasted on."""

from __future__ import annotations

import os
import subprocess
import sys

_IMPORTING = """
import os, sys
from tftraining_operator.runtime.memory import lean_imports
with lean_imports():
    import kopf
import aiohttp.connector, ssl
print(len(aiohttp.connector._SSL_CONTEXT_VERIFIED.get_ca_certs()), os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
import kubernetes
print(kubernetes.__name__)
"""


def test_what_kopf_and_aiohttp_take_in_by_the_way_is_left_out_and_there_when_it_is_needed() -> None:
    environment = {"PATH": os.environ["PATH"], "SSL_CERT_DIR": "/etc/ssl/certs"}
    done = subprocess.run([sys.executable, "-c", _IMPORTING], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["0 None /etc/ssl/certs", "kubernetes"]
