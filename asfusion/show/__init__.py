"""Colours, axes and pages: how any result is shown."""
