"""An archive that is asked by C-FIND and C-GET, as scanners and older archives are."""

from __future__ import annotations

import ssl

from asfusion._checks import check_integer, check_number, in_words
from asfusion.exceptions import ConfigurationError
from asfusion.io.archives.arrivals import Archive
from asfusion.io.archives.dimse import DimseArchive


class Dimse:
    """Where an archive listens that speaks DIMSE, and the names that both go by.

    It opens a connection for each call of `fetch_series` or `fetch_studies`, and asks on the same
    one for what it lists (C-FIND) and for files (C-GET, so that the archive need not reach this
    machine). Files come as they are stored, where the archive can send them so.

    Parameters
    ----------
    host : str
        Name or address of the archive.
    port : int
        Where it listens: 104 or 11112 as a rule.
    ae_title : str
        The title by which the archive is called.
    calling_ae_title : str
        The title of this side, which the archive may have to know.
    timeout_s : float
        Seconds without an answer after which the connection is given up.
    tls : ssl.SSLContext, optional
        For archives that listen by TLS, such as ``ssl.create_default_context()``. Without it
        files travel as they are: within a hospital only.

    Raises
    ------
    ConfigurationError
        If an address or a title cannot be one.
    MissingDependencyError
        When it is used, without the extra ``dimse``.

    Examples
    --------
    >>> import asfusion as af
    >>> af.io.Dimse("pacs.example.org", 11112, ae_title="ARCHIVE")
    Dimse(host='pacs.example.org', port=11112, ae_title='ARCHIVE')
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ae_title: str = "ANY-SCP",
        calling_ae_title: str = "ASFUSION",
        timeout_s: float = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if not isinstance(host, str) or not host or "/" in host or "@" in host:
            msg = "host: expected the name or address of a machine, without a path or a user."
            raise ConfigurationError(msg)
        self.host = host
        self.port = check_integer(port, "port", minimum=1)
        self.ae_title = _title(ae_title, "ae_title")
        self.calling_ae_title = _title(calling_ae_title, "calling_ae_title")
        self.timeout_s = check_number(timeout_s, "timeout_s", minimum=0.0, exclusive=True)
        self.tls = tls

    def __repr__(self) -> str:
        """Return where the archive is, and no more."""
        return f"Dimse(host={self.host!r}, port={self.port}, ae_title={self.ae_title!r})"

    def _archive(self) -> Archive:
        """Return what `fetch_series` asks."""
        titles = self.ae_title, self.calling_ae_title
        return DimseArchive(self.host, self.port, titles, self.timeout_s, self.tls)


def _title(title: object, name: str) -> str:
    if isinstance(title, str) and 1 <= len(title.strip()) <= 16 and title.isascii():
        return title.strip()
    msg = f"{name}: expected 1 to 16 plain letters, got {in_words(title)}."
    raise ConfigurationError(msg)
