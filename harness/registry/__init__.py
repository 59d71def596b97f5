"""A client for OCI registries that verifies what it pushes and reads by digest."""

from harness.registry.client import RegistryClient
from harness.registry.credentials import Credentials, Secret, find_credentials
from harness.registry.reference import Repository
from harness.registry.referrers import Artifact, attach, referrers
from harness.registry.transport import DeniedError, RetryPolicy, Transport, UnreachableError

__all__ = [
    "Artifact",
    "Credentials",
    "DeniedError",
    "RegistryClient",
    "Repository",
    "RetryPolicy",
    "Secret",
    "Transport",
    "UnreachableError",
    "attach",
    "find_credentials",
    "referrers",
]
