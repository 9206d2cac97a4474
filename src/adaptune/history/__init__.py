"""What runs left in their folders: found, compared with each other, repeated, cleaned away."""

from __future__ import annotations
