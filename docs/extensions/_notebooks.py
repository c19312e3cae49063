"""Run notebooks, several at once, and keep what they show.

A kernel runs many notebooks, because imports take as long as many a notebook; see ``_kernel.py``
for how each begins afresh. What ran is kept in ``.examples_cache/`` until the code of the notebook
or the package changes, so that the tests and the site run each notebook once between them.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.exceptions import PluginError
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from PIL import Image
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".examples_cache"
CELL_TIMEOUT_S = 600  # whole notebooks take seconds; a busy machine is slower
N_COLORS = 192  # of a picture: plots are small with them, and films look the same
LARGE = 150_000  # bytes; films are noise, and drawn for screens that have two pixels in one

_log = logging.getLogger("mkdocs.hooks.run_code")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_ID = re.compile(r"\bsk-(?:container|estimator)-id-\d+\b")
_FOLDER = re.compile(re.escape(tempfile.gettempdir()) + r"/(?:asfusion-cohort-|tmp)\w+/")


@dataclass
class Job:
    """A notebook to run, the file that it was made of, and whether it is a test."""

    name: str
    notebook: nbformat.NotebookNode
    tested: bool = False

    @property
    def code(self) -> list[nbformat.NotebookNode]:
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]


def run_all(jobs: list[Job]) -> None:
    """Give the cells of each notebook their outputs, run now or kept from before."""
    waiting = [job for job in jobs if not _recall(job)]
    n_kernels = min(4, os.cpu_count() or 1, len(waiting))
    shared = iter(waiting)
    with ThreadPoolExecutor(max(n_kernels, 1)) as pool:
        list(pool.map(_run_while_some_wait, [shared] * n_kernels))


def _run_while_some_wait(waiting: Iterator[Job]) -> None:
    """Run notebooks that other threads take from the same iterator."""
    with a_kernel() as run_one:
        for job in waiting:
            run_one(job)


def run_or_recall(job: Job, run_one: Callable[[Job], None]) -> None:
    """Give one notebook its outputs, in a kernel that runs already if it has to run."""
    if not _recall(job):
        run_one(job)


@contextmanager
def a_kernel() -> Iterator[Callable[[Job], None]]:
    """Give what runs a notebook in a kernel that lives as long as the block."""
    with tempfile.TemporaryDirectory() as sockets:
        settings = Config()
        settings.KernelManager.transport = "ipc"  # no port is opened
        settings.KernelManager.ip = f"{sockets}/kernel"  # the kernel has another working folder
        client = NotebookClient(
            nbformat.v4.new_notebook(),
            timeout=CELL_TIMEOUT_S,
            startup_timeout=CELL_TIMEOUT_S,
            kernel_name="python3",
            coalesce_streams=True,  # how printed text is cut depends on the time
            config=settings,
        )
        with client.setup_kernel(env=_environment(sockets)):
            yield functools.partial(_run_in, client)


def _environment(sockets: str) -> dict[str, str]:
    path = [str(ROOT), str(Path(__file__).parent), os.environ.get("PYTHONPATH")]
    kept = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    return kept | {
        "IPYTHONDIR": sockets,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def _run_in(client: NotebookClient, job: Job) -> None:
    """Run one notebook where others may have run, as if it were the first, and keep it."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        begin = f"import _kernel; _kernel.begin({folder!r}, tested={job.tested})"
        first = nbformat.v4.new_code_cell(begin)
        client.nb = nbformat.v4.new_notebook(cells=[first])
        try:
            client.execute_cell(first, 0, store_history=False)
            client.nb = job.notebook
            client.execute(cleanup_kc=False)
        except (CellExecutionError, CellTimeoutError) as error:
            told = ESCAPES.sub("", str(error))
            raise PluginError(f"{job.name} failed:\n{told[-3000:]}") from None
    ids: dict[str, str] = {}
    for cell in job.code:
        cell.outputs = [_light(output, ids) for output in cell.outputs if not _is_noise(output)]
    _log.info("%s ran in %.0f s", job.name, time.perf_counter() - begun)
    _keep(job)


def _is_noise(output: Any) -> bool:
    """Tell progress bars, and warnings about them, from what a reader should see."""
    if output.get("name") != "stderr":
        return False
    warned = re.findall(r"AsfusionWarning: .*", output.text)
    output.text = "\n".join(warned)
    return not warned


def _light(output: Any, ids: dict[str, str]) -> Any:
    """Return an output with small pictures, and the same words whatever ran before.

    That is, without the name of a folder that is gone, and with scikit-learn's ``ids`` of elements
    counted within the page.
    """
    if "text" in output:
        output.text = _FOLDER.sub("", output.text)
    data = output.get("data", {})
    for kind in {"text/plain", "text/html"} & set(data):
        text = _FOLDER.sub("", data[kind])
        data[kind] = _ID.sub(lambda found: ids.setdefault(found[0], f"sk-{len(ids)}"), text)
    if "image/png" in data:
        data["image/png"] = base64.b64encode(_small(base64.b64decode(data["image/png"]))).decode()
        data.pop("text/plain", None)
    return output


def _small(png: bytes) -> bytes:
    """Take from a picture colours that nobody sees, and from one that is still large its size."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for divisor in (1, 2):
        written = io.BytesIO()
        less = picture.reduce(divisor).quantize(N_COLORS, dither=Image.Dither.NONE)
        less.save(written, "png", optimize=True)
        if written.tell() < LARGE:
            break
    return written.getvalue()


# -- what was run before -----------------------------------------------------------------


def _recall(job: Job) -> bool:
    """Give a notebook the outputs that are kept; tell whether there are any."""
    if not _place(job).exists():
        return False
    kept = nbformat.read(_place(job), as_version=4).cells
    for cell, ran in zip(job.code, kept, strict=True):
        cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
    return True


def _keep(job: Job) -> None:
    CACHE.mkdir(exist_ok=True)
    for old in CACHE.glob(f"{_plain(job.name)}-*.ipynb"):
        old.unlink()
    part = _place(job).with_suffix(".part")
    nbformat.write(nbformat.v4.new_notebook(cells=job.code), part)
    part.replace(_place(job))


def _place(job: Job) -> Path:
    hashed = hashlib.sha256(_package().encode())
    for cell in job.code:
        hashed.update(f"{cell.source}\0".encode())
    return CACHE / f"{_plain(job.name)}-{hashed.hexdigest()[:16]}.ipynb"


def _plain(name: str) -> str:
    return name.replace("/", "--")


@functools.cache
def _package() -> str:
    """Return a hash of every module that a notebook could import, and of what runs it."""
    hashed = hashlib.sha256()
    package = ROOT / "asfusion"  # where caches of what was compiled come and go, too
    modules = [*package.rglob("*.py"), *package.rglob("*.pyi")]
    here = [Path(__file__), Path(__file__).with_name("_kernel.py")]
    for file in (ROOT / "constraints.txt", *here, *sorted(modules)):
        hashed.update(file.read_bytes())
    return hashed.hexdigest()
