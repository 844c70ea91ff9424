"""Verifying keys with another device or user: SAS and QR codes, as flows that any process can go on with."""

from __future__ import annotations
