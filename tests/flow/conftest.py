"""Fixtures of the user stories that need a browser."""

from tests.panel_kit import browser, open_panel

__all__ = ["browser", "open_panel"]
