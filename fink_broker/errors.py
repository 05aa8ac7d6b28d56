"""Every error that the broker raises on purpose.

FinkError
  ConfigError       (ValueError)    a setting is missing or invalid
  SchemaError                       a packet or schema cannot be used
    UnknownSchema   (LookupError)
    BadPacket       (ValueError)
  ModuleError                       a science module cannot be used
    UnknownModule   (LookupError)
    BrokenContract                  it returned something else than it declared
  FilterError                       a filter cannot be used
    TooLoose                        it passes more alerts than allowed
  StoreError                        Kafka, the lake or HBase
    Unavailable                     may work later: the only kind that is retried
    NotFound        (LookupError)

A message says what happened, what was expected, and what to do.
"""


class FinkError(Exception):
    """Base of all errors of the broker."""


class ConfigError(FinkError, ValueError):
    """A setting is missing or invalid."""


class SchemaError(FinkError):
    """A packet or a schema cannot be used."""


class UnknownSchema(SchemaError, LookupError):
    """No schema of that fingerprint, id or version is known."""


class BadPacket(SchemaError, ValueError):
    """The bytes of a packet are not what its schema says."""


class ModuleError(FinkError):
    """A science module cannot be used."""


class UnknownModule(ModuleError, LookupError):
    """No science module of that name is installed."""


class BrokenContract(ModuleError):
    """A science module returned something else than it declared."""


class FilterError(FinkError):
    """A filter cannot be used."""


class TooLoose(FilterError):
    """A filter passes more alerts than its `max_rate` allows."""


class StoreError(FinkError):
    """Kafka, the lake or HBase refused something."""


class Unavailable(StoreError):
    """A store does not answer now, but may later: the only error that is retried."""


class NotFound(StoreError, LookupError):
    """The store answers, but holds nothing of that name."""


def one_line(error: BaseException) -> str:
    """What an error says in one line: ours as it is, a Python worker's last line, Java's first line without its trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kinds = ("Error: ", "Exception: ", "Unavailable: ", "BadPacket: ", "BrokenContract: ")
    told = [line for line in lines if any(kind in line for kind in kinds) and not line.startswith(("at ", "File "))]
    if type(error).__module__.startswith("fink_broker"):
        return str(error)
    return f"{type(error).__name__}: {(told[-1:] or lines[:1] or ['no message'])[0]}"[:500]
