"""A checkpoint of GX taken apart: each validation definition is the material of one gate.

A checkpoint says what is validated against what, and which actions run afterwards. Gates need
the first half: the batch, to be captured as a subject, and the suite, to be kept as a file
beside the policy. Actions are not carried over. They take GX's own result object, which a gate
does not have, and one made up from a report would show them values that nobody measured; call
what they called after the gate, with its outcome and its report.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluicegate.errors import ConfigurationError
from sluicegate.stages.validation.suites.parse import parse_suite

if TYPE_CHECKING:
    from great_expectations.core.batch_definition import BatchDefinition

__all__ = ["CheckpointGate", "checkpoint_suites"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointGate:
    """What one gate needs of a checkpoint."""

    name: str
    """Name of the validation definition."""
    batch_definition: BatchDefinition[Any]
    suite: bytes
    """The suite as GX writes it: JSON, accepted by the strict loader."""

    def write_suite(self, folder: Path) -> Path:
        """Write the suite into a folder, to be reviewed and kept in version control.

        Returns:
            Its path, for ``ValidateDataset(suite=…)``.

        Raises:
            ConfigurationError: a file of this name holds another suite.
        """
        path = folder / f"{re.sub(r'[^A-Za-z0-9_-]+', '_', self.name)}.suite.json"
        if path.exists() and path.read_bytes() != self.suite:
            raise ConfigurationError(
                f"{path} holds another suite",
                next_step="compare them; move the old one away if the new one is right",
            )
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.suite)
        return path


def checkpoint_suites(context: Any, name: str) -> tuple[CheckpointGate, ...]:
    """Return the gates that stand for a checkpoint, in its order.

    Args:
        context: of GX, of any kind.
        name: the checkpoint's.

    Raises:
        ConfigurationError: there is no such checkpoint, or it holds a suite that no gate can
            ask safely and completely.
    """
    from great_expectations.exceptions.exceptions import DataContextError

    try:
        checkpoint = context.checkpoints.get(name)
    except DataContextError:
        raise ConfigurationError(
            f"the GX context has no checkpoint {name!r}",
            next_step="list them with context.checkpoints.all()",
        ) from None
    return tuple(_gate(one) for one in checkpoint.validation_definitions)


def _gate(definition: Any) -> CheckpointGate:
    text = json.dumps(definition.suite.to_json_dict(), indent=2, sort_keys=True) + "\n"
    parse_suite(text.encode())
    return CheckpointGate(
        name=str(definition.name), batch_definition=definition.data, suite=text.encode()
    )
