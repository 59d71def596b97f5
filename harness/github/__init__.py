"""A client for GitHub's REST API, as far as the harness needs it."""

from harness.github.api import API, GitHub, GitHubError

__all__ = ["API", "GitHub", "GitHubError"]
