"""A saved model behind HTTP: rows in, predictions out, nothing kept."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import time
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from asfusion._checks import check_integer, check_number
from asfusion._door import public
from asfusion._optional import import_optional
from asfusion.exceptions import AsfusionError, ConfigurationError, InputError
from asfusion.serving._answering import Answering, digest_at, stamp_of
from asfusion.serving._openapi import OPEN, PARQUET, openapi_of, schema_of
from asfusion.serving._queue import BusyError, Waiting
from asfusion.serving._rows import (
    RequestError,
    Rows,
    as_told,
    parse_json,
    read_parquet,
    read_rows,
    refuse,
)
from asfusion.serving._telling import Counts, log

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_LOOK_S = 1.0  # between two looks at whether another model was saved
_SAFE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_MOST_EXPLAINED = 8
_MOST_PARTS = 200
_MOST_SLOW = 8  # tables and explanations that wait
_MOST_BODIES = 4  # of the largest size, in memory at once
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


@dataclass(frozen=True)
class Limits:
    """What a service takes at most.

    Parameters
    ----------
    megabytes : float
        Of the body of a request.
    rows : int
        Of a request in JSON.
    batch_rows : int
        Of a request in Parquet.
    waiting : int
        Requests that wait to be predicted; more get 503.
    seconds : float
        For a body to arrive, and for an answer to be made.

    Examples
    --------
    >>> from asfusion.serving import Limits
    >>> Limits(rows=10).rows
    10
    """

    megabytes: float = 64.0
    rows: int = 1_000
    batch_rows: int = 100_000
    waiting: int = 256
    seconds: float = 30.0

    def __post_init__(self) -> None:
        """Check them."""
        check_number(self.megabytes, "megabytes", minimum=0.001)
        check_number(self.seconds, "seconds", minimum=0.01)
        for name in ("rows", "batch_rows", "waiting"):
            check_integer(getattr(self, name), name, minimum=1)


@public
def make_app(
    path: str | Path,
    *,
    token: str | None = None,
    hosts: tuple[str, ...] = (),
    units: Mapping[str, str] | None = None,
    background: Any = None,
    limits: Limits | None = None,
) -> Starlette:
    """Return a web application that answers for a saved model.

    It is an ASGI application: run it by ``asfusion serve``, by any ASGI server, or mount it in one
    of your own. `/predict` reads JSON, multipart with films beside it, or Parquet; `/explain` says
    what moved predictions; `/schema` and `/openapi.json` tell the columns; `/health`, `/ready` and
    `/metrics` are for whoever runs it. When another model is saved to the path it is taken over
    between two requests. Nothing that is sent is kept, and no answer or line of the log shows it
    again; films stay in memory.

    Parameters
    ----------
    path : str or Path
        Folder of a saved model, or a file that `asfusion.export` wrote.
    token : str, optional
        What clients send as ``Authorization: Bearer ...``; nothing is asked for without it.
    hosts : tuple of str
        Names by which clients may call the machine; any by default.
    units : mapping of str to str, optional
        Units of columns of numbers, told in the schema.
    background : DataFrame, optional
        Rows that columns, words and pixels are replaced from in `/explain`, best some training
        rows; without them modalities alone are explained.
    limits : Limits, optional
        What is taken at most.

    Returns
    -------
    Starlette
        The application.

    Raises
    ------
    MissingDependencyError
        If the extra ``serve`` is not installed.
    BundleError
        If there is no readable model at the path.
    ConfigurationError
        If it does not predict, or a parameter is unusable.

    Examples
    --------
    >>> import tempfile, numpy as np, pandas as pd, asfusion as af
    >>> from starlette.testclient import TestClient
    >>> X = pd.DataFrame({"crp": np.arange(40.0), "esr": 1.0})
    >>> labs = {"labs": af.TabularEncoder(["crp", "esr"])}
    >>> model = af.EarlyFusionClassifier(labs, verbose=0).fit(X, np.arange(40) > 20)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     app = af.serving.make_app(model.save(folder + "/model.asf"))
    ...     with TestClient(app) as client:
    ...         answer = client.post("/predict", json=[{"crp": 39.0, "esr": 1.0}])
    >>> answer.json()["rows"][0]["predicted"]
    True
    """
    import_optional("starlette", needed_for="serve", extra="serve")
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.routing import Route

    if token is not None and not token:
        raise ConfigurationError("token: expected a text, got an empty one.")
    served = Service(Path(path), token, dict(units or {}), background, limits or Limits())
    known = [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))] if hosts else []
    routes = [
        Route("/predict", served.route(served.predict), methods=["POST"]),
        Route("/explain", served.route(served.explain), methods=["POST"]),
        Route("/schema", served.route(served.schema)),
        Route("/openapi.json", served.route(served.openapi)),
        Route("/health", served.route(served.health)),
        Route("/ready", served.route(served.ready)),
        Route("/metrics", served.route(served.metrics)),
    ]
    return Starlette(routes=routes, middleware=known, lifespan=served.lives)


@dataclass
class Service:
    """A model, who may ask it, and how much at once; see `make_app`."""

    path: Path
    token: str | None
    units: dict[str, str]
    background: Any
    limits: Limits
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self.answering = Answering.read(self.path, self.units, self.background)
        self.waiting = Waiting(self.limits.waiting, self.limits.rows)
        # Slow work, which predictions of single patients do not wait for.
        self.slow = ThreadPoolExecutor(1, thread_name_prefix="asfusion-slow")
        self._n_slow = self._n_bytes = 0

    # -- life ----------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def lives(self, _: Any) -> AsyncIterator[None]:
        """Look for newer models while the application runs; answer what was asked at its end."""
        log("started", digest=self.answering.digest)
        looking = asyncio.get_running_loop().create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await self.waiting.stop()
            self.slow.shutdown(wait=True)
            log("stopped")

    async def _look(self) -> None:
        seen: tuple[int, ...] = ()
        while True:
            await asyncio.sleep(_LOOK_S)
            if (stamp := stamp_of(self.path)) in (seen, ()):
                continue
            try:
                now = digest_at(self.path)
            except AsfusionError:
                continue  # between two saves, or gone: what is loaded goes on
            before, seen = seen, stamp
            if now == self.answering.digest:
                continue
            try:
                newer = await self._slowly(self._read)
            except BusyError:
                seen = before  # another look a second later
                continue
            except Exception as error:
                self.counts.reloads.labels("failed").inc()
                log("reload failed", error=type(error).__name__)
                continue
            self.answering = newer
            self.counts.reloads.labels("done").inc()
            log("reloaded", digest=newer.digest)

    def _read(self) -> Answering:
        return Answering.read(self.path, self.units, self.background)

    async def _slowly(self, work: Callable[[], Any]) -> Any:
        if self._n_slow >= _MOST_SLOW:
            raise BusyError
        self._n_slow += 1
        # Counted until it is done, whether or not a client still waits.
        done = asyncio.get_running_loop().run_in_executor(self.slow, work)
        done.add_done_callback(self._one_less)
        return await done

    def _one_less(self, done: asyncio.Future[Any]) -> None:
        self._n_slow -= 1
        if not done.cancelled():
            done.exception()  # seen, though its client may have gone

    # -- requests ------------------------------------------------------------------------

    def route(
        self, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return an answer that is counted, written to the log, and never shows what was sent."""

        async def respond(request: Request) -> Response:
            begun, name = time.perf_counter(), uuid4().hex
            route = request.url.path
            told: dict[str, str] = {}
            request.state.n_bytes = 0
            try:
                self._admit(request)
                response = await asyncio.wait_for(answer(request), self.limits.seconds)
            except Exception as error:
                problems, status = self._problems(error)
                told = {"error": type(error).__name__}
                if status == 500:
                    told["where"] = _place_of(error)
                response = _json({"problems": problems, "request": name}, status)
            finally:
                self._n_bytes -= request.state.n_bytes
            took = time.perf_counter() - begun
            response.headers.update(_SAFE | {"X-Request-Id": name})
            response.headers["X-Model-Digest"] = self.answering.digest
            self.counts.requests.labels(route, response.status_code).inc()
            self.counts.seconds.labels(route).observe(took)
            if route not in OPEN or told:
                log(
                    "request", route=route, status=response.status_code, request=name,
                    ms=round(1e3 * took, 1), digest=self.answering.digest, **told,
                )  # fmt: skip
            return response

        return respond

    def _admit(self, request: Request) -> None:
        if self.token is None or request.url.path in OPEN:
            return
        given = request.headers.get("authorization", "")
        scheme, _, secret = given.partition(" ")
        same = hmac.compare_digest(secret.encode(), self.token.encode())
        if scheme.lower() != "bearer" or not same:
            refuse("Authorization", "Bearer and the token of this service", 401)

    def _problems(self, error: Exception) -> tuple[list[dict[str, str]], int]:
        """Return what is told of an error, and the status."""
        if isinstance(error, RequestError):
            return error.problems, error.status
        if isinstance(error, BusyError):
            return [{"at": "service", "expected": "fewer requests at once; try again"}], 503
        if isinstance(error, TimeoutError):
            seconds = f"{self.limits.seconds:g} seconds"
            return [{"at": "service", "expected": f"work that is done within {seconds}"}], 504
        if isinstance(error, InputError):
            return [{"at": "rows", "expected": as_told(error)}], 422
        return [{"at": "service", "expected": "no failure; the log says where it was"}], 500

    async def _body(self, request: Request) -> bytes:
        """Return the body, of which no more is taken than is allowed."""
        most = int(self.limits.megabytes * 1e6)
        declared = request.headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > most:
            refuse("body", f"at most {self.limits.megabytes:g} MB", 413)
        taken = bytearray()
        async for piece in request.stream():
            taken += piece
            if len(taken) > most:
                refuse("body", f"at most {self.limits.megabytes:g} MB", 413)
            self._n_bytes += len(piece)
            request.state.n_bytes += len(piece)
            if self._n_bytes > _MOST_BODIES * most:
                raise BusyError
        return bytes(taken)

    async def _rows(self, request: Request, answering: Answering, most: int) -> Rows:
        body, kind = await self._body(request), _content_type(request)
        if kind == "application/json":
            return read_rows(parse_json(body), answering.fields, {}, most)
        if kind != "multipart/form-data":
            refuse("Content-Type", f"application/json, multipart/form-data or {PARQUET}", 415)
        rows, parts = await _parts(request, body)
        return read_rows(parse_json(rows, "rows"), answering.fields, parts, most)

    # -- routes --------------------------------------------------------------------------

    async def predict(self, request: Request) -> Response:
        """Predict rows, of JSON, a form with films, or Parquet."""
        answering = self.answering
        if _content_type(request) == PARQUET:
            return await self._predict_table(request, answering)
        rows = await self._rows(request, answering, self.limits.rows)
        self.counts.waiting.set(len(self.waiting))
        found = await self.waiting.ask(answering, rows)
        self.counts.rows.inc(len(rows))
        told = {"digest": answering.digest, "rows": found}
        return _json(told | ({"remarks": rows.remarks} if rows.remarks else {}))

    async def _predict_table(self, request: Request, answering: Answering) -> Response:
        from starlette.responses import Response

        body = await self._body(request)

        def work() -> bytes:
            table = read_parquet(body, answering.fields, self.limits.batch_rows)
            written = BytesIO()
            found = answering.ask_table(table)
            found.write_parquet(written)
            self.counts.rows.inc(len(found))
            return written.getvalue()

        return Response(await self._slowly(work), media_type=PARQUET)

    async def explain(self, request: Request) -> Response:
        """Say what moved the predictions of a few rows."""
        answering = self.answering
        if not answering.explains:
            refuse("model", "one that can be taken apart: not within another, few modalities", 501)
        rows = await self._rows(request, answering, min(self.limits.rows, _MOST_EXPLAINED))
        return _json(await self._slowly(lambda: answering.explain(rows)))

    async def schema(self, _: Request) -> Response:
        """Tell the columns of the model."""
        return _json(schema_of(self.answering.fields, self.answering.digest))

    async def openapi(self, _: Request) -> Response:
        """Tell everything, for programs."""
        now, locked = self.answering, self.token is not None
        most = self.limits.rows
        told = openapi_of(
            now.fields,
            now.digest,
            most=most,
            most_explained=min(most, _MOST_EXPLAINED),
            locked=locked,
        )
        return _json(told)

    async def health(self, _: Request) -> Response:
        """Say that the process lives."""
        return _json({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        """Say that a model is loaded, and which."""
        return _json({"status": "ready", "digest": self.answering.digest})

    async def metrics(self, _: Request) -> Response:
        """Tell counts to Prometheus."""
        from starlette.responses import Response

        return Response(self.counts.told(), media_type="text/plain; version=0.0.4")


def _json(content: Any, status: int = 200) -> Response:
    from starlette.responses import Response

    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return Response(text, status, media_type="application/json")


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _parts(request: Request, body: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return the JSON of a form and the files beside it, none of which touches a disk."""
    from starlette.formparsers import MultiPartException, MultiPartParser

    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    class InMemory(MultiPartParser):
        spool_max_size = len(body) + 1

    parser = InMemory(
        request.headers, once(), max_files=_MOST_PARTS, max_fields=1, max_part_size=len(body) + 1
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError):
        refuse("body", "a form with one field 'rows' and files", 400)
    rows = form.get("rows")
    if not isinstance(rows, str):
        refuse("rows", "a field of JSON in the form")
    files = {
        name: await part.read() for name, part in form.multi_items() if not isinstance(part, str)
    }
    await form.close()
    return rows.encode(errors="surrogatepass"), files


def _place_of(error: Exception) -> str:
    """Return file and line where an error arose: its words could show a cell."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def hosts_of(host: str) -> tuple[str, ...]:
    """Return by which names a service may be called that is bound to an address.

    One that only this machine reaches answers only to this machine's own names, so that no page
    in a browser can ask it under a name of its own.
    """
    return LOOPBACK if host in LOOPBACK else ()
