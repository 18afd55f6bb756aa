"""Colours. Amber is money and mining, green is training, blue is the chain; a sign or word always says it too."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="potminer-dark",
    primary="#6cb6ff",
    secondary="#8a97a8",
    accent="#f0b849",
    success="#63d69a",
    warning="#f0b849",
    error="#ff7b72",
    foreground="#d5dce6",
    background="#0d1117",
    surface="#0d1117",
    panel="#161c25",
    dark=True,
    variables={"edge": "#2f3a49", "quiet": "#7d8997", "footer-key-foreground": "#f0b849"},
)
LIGHT = Theme(
    name="potminer-light",
    primary="#0b5cad",
    secondary="#57606a",
    accent="#8a5a00",
    success="#1a6b3c",
    warning="#8a5a00",
    error="#b42318",
    foreground="#1f2328",
    background="#fbfaf7",
    surface="#fbfaf7",
    panel="#efece4",
    dark=False,
    variables={"edge": "#c9c4b6", "quiet": "#6b6f76", "footer-key-foreground": "#8a5a00"},
)
CONTRAST = Theme(
    name="potminer-contrast",
    primary="#00d7ff",
    secondary="#ffffff",
    accent="#ffff00",
    success="#00ff5f",
    warning="#ffff00",
    error="#ff5f5f",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
    dark=True,
    variables={"edge": "#ffffff", "quiet": "#d0d0d0", "footer-key-foreground": "#ffff00"},
)
THEMES = (DARK, LIGHT, CONTRAST)
