"""Registries on loopback that behave as those that people publish to."""

from harness.stand_ins.registry.behaviour import Profile
from harness.stand_ins.registry.local import LocalRegistry, local_registry

__all__ = ["LocalRegistry", "Profile", "local_registry"]
