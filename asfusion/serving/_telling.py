"""What a service tells of itself: lines of a log without a cell, and counts for Prometheus."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

from asfusion._optional import import_optional

_TIMES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
SEVERAL = "PROMETHEUS_MULTIPROC_DIR"


def log(event: str, **what: Any) -> None:
    """Write one line of JSON to standard error."""
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event, **what}
    sys.stderr.write(json.dumps(line) + "\n")


class Counts:
    """Requests, rows, times and reloads of this process, or of all of them."""

    def __init__(self) -> None:
        self._prometheus: Any = import_optional(
            "prometheus_client", needed_for="serve", extra="serve"
        )
        made = self._prometheus
        # Several processes write into one folder; else each app counts for itself.
        self._registry = None if SEVERAL in os.environ else made.CollectorRegistry()
        kept = {} if self._registry is None else {"registry": self._registry}
        self.requests = made.Counter(
            "asfusion_requests", "Requests by route and status.", ["route", "status"], **kept
        )
        self.seconds = made.Histogram(
            "asfusion_request_seconds", "Time of a request.", ["route"], buckets=_TIMES_S, **kept
        )
        self.rows = made.Counter("asfusion_rows", "Rows that were predicted.", **kept)
        self.reloads = made.Counter(
            "asfusion_reloads", "Models that were read anew, or failed to be.", ["result"], **kept
        )
        self.waiting = made.Gauge(
            "asfusion_waiting", "Requests that wait.", multiprocess_mode="livesum", **kept
        )

    def told(self) -> bytes:
        """Return all counts as Prometheus reads them."""
        registry = self._registry
        if registry is None:
            several: Any = importlib.import_module("prometheus_client.multiprocess")
            registry = self._prometheus.CollectorRegistry()
            several.MultiProcessCollector(registry)
        text: bytes = self._prometheus.generate_latest(registry)
        return text
