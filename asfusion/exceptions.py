"""Every error and warning that asfusion raises on purpose.

Each error is an `AsfusionError` and also the built-in that the ecosystem already
catches, so that ``except ValueError`` keeps working::

    AsfusionError
    |-- InputError(ValueError)              rows, targets, groups or weights
    |   |-- ColumnError                     a column that is not there or is of the wrong kind
    |   |-- ImageReadError                  a file that is not a readable image
    |   |   `-- DicomReadError              a DICOM file, or a series of them, that is not
    |   |-- UnitError                       a unit that is unknown, undeclared or does not fit
    |   |-- CircularityError                a label predicted from what defines it
    |   `-- InputTypeError(TypeError)       rows, or cells, of a type that cannot be read
    |-- ConfigurationError(ValueError)      a parameter, or parameters that contradict
    |-- ShapeError(ValueError)              tensors that do not fit together
    |-- BundleError(ValueError)             a saved model that cannot be trusted or read
    |-- StoreError(OSError)                 a store that cannot be written or is damaged
    |-- FileError(OSError)                  the system could not read or write a file
    |-- ArchiveError(ConnectionError)       an archive of images is not reached, or refuses
    |-- CheckpointError(ValueError)         a training checkpoint that does not fit the run
    |-- TrainingError(RuntimeError)         training that diverged or cannot go on
    |   `-- OutOfMemoryError                a single row does not fit into memory
    |-- ContractError(AssertionError)       an encoder or head of one's own breaks a promise
    |-- WorkerError(RuntimeError)           a process or a machine was lost, and again
    |-- UnfittedError(ValueError, AttributeError)   asked before `fit`; scikit-learn's, too
    |-- ForeignError(RuntimeError)          another package failed, its words left out
    `-- MissingDependencyError(ImportError) an optional package is not installed

Messages name columns, row positions and counts, never the value of a cell.
"""

from __future__ import annotations


class AsfusionError(Exception):
    """Base of every error that asfusion raises on purpose."""


class InputError(AsfusionError, ValueError):
    """Rows, targets, groups or weights that cannot be used as given."""


class ColumnError(InputError):
    """A column that is missing, duplicated, or of the wrong kind."""


class ImageReadError(InputError):
    """A file that is missing or is not a readable image."""


class DicomReadError(ImageReadError):
    """A DICOM file, or a series of slices, that cannot be read as it should."""


class UnitError(InputError):
    """A unit that is unknown, undeclared, or does not fit the numbers."""


class CircularityError(InputError):
    """A label that would be predicted from its own ingredients."""


class InputTypeError(InputError, TypeError):
    """Rows, or cells of theirs, of a type that cannot be read."""


class ConfigurationError(AsfusionError, ValueError):
    """A parameter with an unusable value, or parameters that contradict."""


class ShapeError(AsfusionError, ValueError):
    """Tensors whose shapes do not fit together."""


class BundleError(AsfusionError, ValueError):
    """A saved model that is incomplete, changed, or names an unknown part."""


class StoreError(AsfusionError, OSError):
    """A store of images or series that cannot be written, or that is damaged."""


class FileError(AsfusionError, OSError):
    """The system could not read or write a file: no space, no right, no such place."""


class ArchiveError(AsfusionError, ConnectionError):
    """An archive of images that cannot be reached, refuses, or answers with something else."""


class CheckpointError(AsfusionError, ValueError):
    """A training checkpoint that is damaged or belongs to another run."""


class TrainingError(AsfusionError, RuntimeError):
    """Training that diverged or cannot go on."""


class OutOfMemoryError(TrainingError):
    """Memory ran out although the batch was already as small as it can be."""


class ContractError(AsfusionError, AssertionError):
    """An encoder or a fusion head of one's own breaks a promise that others rely on."""


class WorkerError(AsfusionError, RuntimeError):
    """A process, or a machine of a cluster, was lost with its work, and lost again."""


class UnfittedError(AsfusionError, ValueError, AttributeError):
    """Something is asked that only a fitted estimator or encoder knows."""


class ForeignError(AsfusionError, RuntimeError):
    """Code of another package, or of the user's own, failed; its words may show a cell."""


class MissingDependencyError(AsfusionError, ImportError):
    """An optional package is needed and not installed."""


class AsfusionWarning(UserWarning):
    """Something that changes a result and that the user should know of."""
