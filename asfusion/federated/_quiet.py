"""Flower tells its maker of each run, and asks for newer versions, unless told not to."""

from __future__ import annotations

QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
