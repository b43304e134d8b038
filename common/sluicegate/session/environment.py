"""What a session ran on: interpreter, platform, installed distributions.

Of environment variables only the names are recorded, and only those that change what
numerical libraries compute; a value may be a secret.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import Distribution, distributions
from typing import Final

from sluicegate.canonical import Digest, Json

__all__ = ["describe_environment"]

_PREFIXES: Final = (
    "CUBLAS_",
    "CUDA_",
    "CUDNN_",
    "HIP_",
    "JAX_",
    "MKL_",
    "NCCL_",
    "NUMBA_",
    "NVIDIA_",
    "OMP_",
    "OPENBLAS_",
    "PYTHON",
    "ROCR_",
    "TF_",
    "TORCH_",
    "PYTORCH_",
    "XLA_",
)
"""Of variables that change results: devices, threads, determinism, the interpreter."""
_MOST: Final = 5000
"""Distributions and names that are listed; the digest covers all."""


def describe_environment() -> dict[str, Json]:
    """Return the environment of this process, without any value of a variable."""
    installed = sorted(_installed())
    names = sorted(name for name in os.environ if name.startswith(_PREFIXES))
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "byteOrder": sys.byteorder,
        "distributions": {
            "sha256": Digest.of_json([list(pair) for pair in installed]).hex,
            "count": len(installed),
            "list": [list(pair) for pair in installed[:_MOST]],
        },
        "variables": [name[:200] for name in names[:_MOST]],
    }


def _installed() -> set[tuple[str, str]]:
    """Return name and version of each distribution; damaged ones too."""
    return {(_field(item, "Name"), _field(item, "Version")) for item in distributions()}


def _field(item: Distribution, name: str) -> str:
    """Return a field; a damaged installation has none, and in some versions no metadata."""
    metadata = item.metadata
    known = metadata is not None and name in metadata
    return str(metadata[name])[:200] if known else "(none)"
