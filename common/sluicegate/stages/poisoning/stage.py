"""The stage: its options, and what makes no sense among them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, ClassVar, Final

from sluicegate.errors import ConfigurationError, MissingExtraError
from sluicegate.model import Report
from sluicegate.stages.base import Context, Option
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.tables import read_table

__all__ = ["TASKS", "ScanForPoisoning"]

TASKS: Final = ("classification", "regression", "multi-label", "tokens")
"""What a label is: one class, a number, several classes, or a class for each token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanForPoisoning:
    """Find poisoned rows in a labelled table: wrong labels, triggers, floods, foreign rows.

    Each channel is a check of its own, with its own share of false alarms; scores are never
    added up. Which are asked depends on what the table holds:

    * ``poisoning.labels_expected`` (critical): every row has a label, and with
      ``expected_labels`` the classes are exactly those.
    * ``poisoning.label_issues``: labels agree with out-of-sample predictions. For other
      tasks ``poisoning.target_issues``, ``.multilabel_issues``, ``.token_issues``.
    * ``poisoning.trigger_items``: no value, range or gap in a column decides the label
      against everything else in the row; ``poisoning.trigger_ngrams``: no words do.
    * ``poisoning.outliers``: no row is foreign to every class.
    * ``poisoning.duplicates``, ``poisoning.near_duplicate_text``: no row floods the table,
      and equal rows have equal labels.
    * ``poisoning.source_shift``: no contributor, and no stretch of time, has more
      contradicted labels than the others.
    * ``poisoning.hidden_characters``, ``poisoning.gibberish``: text holds nothing that
      people do not see, and no noise.
    * ``poisoning.spectral_signatures``, ``poisoning.activation_clustering``: embeddings of
      a class form one cluster.
    * ``poisoning.split_view`` (critical): files and cells are what was published.

    Rows without an acceptable label are reported and not examined further. Classes with
    fewer different rows than folds are not examined, and the answer about them is unknown.

    The stage is hereditary: poison is a property of rows, and removing rows adds none. With
    ``expected_labels`` or ``published`` it is not: removing rows can empty a class or change
    a file.

    Not seen: clean-label attacks that move rows a little, triggers that blend into many
    columns, a trigger in data whose other columns say nothing about the label, and poison
    that holds most of a class.

    Raises:
        ConfigurationError: fields contradict each other, or are out of range.
    """

    name: ClassVar[str] = "scan-for-poisoning"
    version: ClassVar[str] = "2"
    scores_rows: ClassVar[bool] = True
    check_ids: ClassVar[tuple[str, ...]] = (
        "poisoning.activation_clustering",
        "poisoning.duplicates",
        "poisoning.gibberish",
        "poisoning.hidden_characters",
        "poisoning.label_issues",
        "poisoning.labels_expected",
        "poisoning.multilabel_issues",
        "poisoning.near_duplicate_text",
        "poisoning.outliers",
        "poisoning.source_shift",
        "poisoning.spectral_signatures",
        "poisoning.split_view",
        "poisoning.target_issues",
        "poisoning.token_issues",
        "poisoning.trigger_items",
        "poisoning.trigger_ngrams",
    )

    label: Annotated[str, Option("column with the label of each row")]
    features: Annotated[
        tuple[str, ...], Option("columns to examine; empty for all that have no other use")
    ] = ()
    exclude: Annotated[tuple[str, ...], Option("columns not to examine")] = ()
    text: Annotated[tuple[str, ...], Option("columns with text of any length")] = ()
    embeddings: Annotated[
        tuple[str, ...],
        Option("columns with an embedding or a reference model's activations, one number each"),
    ] = ()
    source: Annotated[str, Option("column with the contributor or upload of each row")] = ""
    time: Annotated[str, Option("column with the time at which each row came")] = ""
    content: Annotated[str, Option("column with content that has published hashes")] = ""
    content_sha256: Annotated[str, Option("column with the published SHA-256 of it")] = ""
    published: Annotated[
        str | Path | None,
        Option("published hashes of the files, as sha256sum writes them", file=True),
    ] = None
    reference: Annotated[
        str | Path | None,
        Option("trusted rows with the same columns, to calibrate by", file=True),
    ] = None
    task: Annotated[str, Option(f"what a label is: {', '.join(TASKS)}")] = "classification"
    budget: Annotated[
        float, Option("share of honest rows that may be flagged by mistake, over all channels")
    ] = 0.01
    image: Annotated[
        tuple[int, ...], Option("height and width, if the features are an image's grey levels")
    ] = ()
    folds: Annotated[int, Option("folds of cross-validation, at least 2")] = 5
    seed: Annotated[int, Option("seed of folds, models and simulation")] = 0
    expected_labels: Annotated[
        tuple[str, ...], Option("labels there must be, and no others; empty for any")
    ] = ()
    probabilities: Annotated[
        tuple[str, ...],
        Option(
            "columns with out-of-sample class probabilities, in order of sorted labels; "
            "empty to fit models"
        ),
    ] = ()

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "image":
                continue
            if isinstance(item.default, tuple):
                _check_names(item.name, value)
        if not self.label:
            raise ConfigurationError("label is empty", next_step="name the label column")
        self._check_numbers()
        self._check_roles()
        self._check_pairs()

    def _check_numbers(self) -> None:
        if self.folds < 2:
            raise ConfigurationError(
                f"folds is {self.folds}", next_step="use at least 2, by default 5"
            )
        if self.seed < 0:
            raise ConfigurationError(f"seed is {self.seed}", next_step="use 0 or more")
        if not 0 < self.budget <= 0.2:
            raise ConfigurationError(
                f"budget is {self.budget}",
                next_step="use a share above 0 and up to 0.2, by default 0.01",
            )
        if self.image and (len(self.image) != 2 or min(self.image) < 1):
            raise ConfigurationError(
                f"image is {self.image}", next_step="give height and width in pixels"
            )
        if self.task not in TASKS:
            raise ConfigurationError(
                f"there is no task {self.task!r}", next_step=f"use one of {', '.join(TASKS)}"
            )

    def _check_roles(self) -> None:
        """Refuse a column that is named for two uses."""
        used: dict[str, str] = {self.label: "label"}
        for role, columns in self.roles().items():
            for column in columns:
                if column in used:
                    raise ConfigurationError(
                        f"{role} names {column!r}, which is named by {used[column]}, too",
                        next_step="name each column for one use",
                    )
                used[column] = role

    def roles(self) -> dict[str, tuple[str, ...]]:
        """Return the columns that are named for each use, besides the label."""
        single = {
            role: (column,) if column else ()
            for role, column in (
                ("source", self.source),
                ("time", self.time),
                ("content_sha256", self.content_sha256),
            )
        }
        content = () if self.content in self.text or not self.content else (self.content,)
        return {
            "features": self.features,
            "exclude": self.exclude,
            "text": self.text,
            "embeddings": self.embeddings,
            "probabilities": self.probabilities,
            "content": content,
            **single,
        }

    def _check_pairs(self) -> None:
        if bool(self.content) != bool(self.content_sha256):
            raise ConfigurationError(
                "content and content_sha256 go together",
                next_step="name the column with the content and the one with its hash",
            )
        if len(self.probabilities) == 1 and self.task == "classification":
            raise ConfigurationError(
                "probabilities names one column", next_step="name one column for each class"
            )
        expected = len(self.expected_labels)
        if self.probabilities and expected and len(self.probabilities) != expected:
            raise ConfigurationError(
                f"{len(self.probabilities)} probability columns for {expected} expected labels",
                next_step="name one column for each expected label, in sorted order",
            )
        if self.task == "tokens" and len(self.probabilities) != 1:
            raise ConfigurationError(
                "labels of tokens are judged by predictions that you bring",
                next_step="name one column in probabilities: for each token a list of numbers",
            )
        if self.task in ("regression", "tokens") and expected:
            raise ConfigurationError(f"expected_labels has no meaning for {self.task}")

    @property
    def hereditary(self) -> bool:
        """Whether a verdict on a data set speaks for its subsets; see the class."""
        return not self.expected_labels and self.published is None

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        """Scan all rows of the snapshot.

        Raises:
            SubjectError: the subject is not a table with distinct column names.
            ConfigurationError: columns that do not exist or cannot be examined.
            MissingExtraError: cleanlab or scikit-learn is not installed.
        """
        try:
            import cleanlab.rank  # noqa: F401
            import sklearn.discriminant_analysis  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(
                error.name or "cleanlab", "poisoning", "scanning for poisoning"
            ) from error
        from sluicegate.stages.poisoning.crossfit import reproducible
        from sluicegate.stages.poisoning.scan import scan_table

        table = read_table(snapshot)
        with reproducible():
            return scan_table(self, snapshot, table, context)


def _check_names(option: str, names: object) -> None:
    """Refuse a bare string, which would be read letter by letter, and repeated names."""
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(
            f"{option} is not a tuple of text", next_step=f'write {option}=("a", "b")'
        )
    if len(set(names)) < len(names):
        raise ConfigurationError(f"{option} names something twice", next_step="name it once")
