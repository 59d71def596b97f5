"""Send requests through the Service from a pod inside the cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.core.recorder import Limits, Observation
from harness.core.wait import wait_until
from harness.kubernetes.helper import helper_pod
from harness.kubernetes.names import APP
from harness.kubernetes.stage import Stage

NAME = "finfocus-smoke-load"
START_SECONDS = 60

# Each request uses a new connection, so that every change of the Service's endpoints takes effect.
# Reading from an empty pipe pauses without starting a process.
_SCRIPT = r"""
worker() {
  local port status socket idle good=0
  exec {idle}<> <(:)
  while true; do
    for port in $PORTS; do
      status=none
      if { exec {socket}<>"/dev/tcp/$TARGET/$port"; } 2>/dev/null; then
        printf 'GET /healthz HTTP/1.1\r\nHost: load\r\nConnection: close\r\n\r\n' >&"$socket"
        read -r -t 5 _ status _ <&"$socket" || status=silent
        exec {socket}>&-
      else
        status=refused
      fi
      if [[ $status == 200 ]]; then
        ((++good % 20)) || printf 'good 20\n'
      else
        printf 'failed %s %s\n' "$port" "$status"
      fi
      read -r -t 0.02 -u "$idle" || true
    done
  done
}
# A network that enforces policies blocks a new pod until it has learned its address.
exec {idle}<> <(:)
until { exec {socket}<>"/dev/tcp/$TARGET/${PORTS%% *}"; } 2>/dev/null; do
  read -r -t 0.1 -u "$idle" || true
done
exec {socket}>&-
for _ in 1 2 3 4; do worker & done
wait
"""


@dataclass(kw_only=True)
class Load:
    """The results of the requests; complete after the block of `load`."""

    answered: int = 0
    failures: tuple[str, ...] = ()  # "8001 refused"


@contextmanager
def load(stage: Stage) -> Iterator[Load]:
    """Send requests to every region of the Service during the block."""
    environ = {
        "TARGET": stage.kubectl.get("service", APP)["spec"]["clusterIP"],
        "PORTS": " ".join(str(region.port) for region in stage.regions),
    }
    found = Load()
    with helper_pod(stage, NAME, _SCRIPT, environ):
        try:
            wait_until(
                lambda: "good" in stage.kubectl.run("logs", NAME),
                timeout=START_SECONDS,
                interval=0.2,
                what="requests are answered",
                explain=stage.kubectl.trouble,
            )
            yield found
        finally:
            lines = stage.kubectl.run("logs", NAME).splitlines()
            found.answered = sum(int(line.split()[1]) for line in lines if line.startswith("good"))
            found.failures = tuple(line[7:] for line in lines if line.startswith("failed"))


@contextmanager
def under_load(stage: Stage, scenario: str, title: str) -> Iterator[Observation]:
    """Check that no request fails during the block."""
    with stage.recorder.check(
        "US-1", title, limits=Limits(bound=0), limit="0 failed", scenario=scenario, headline=True
    ) as finding:
        found = Load()
        try:
            with load(stage) as found:
                yield finding
        finally:
            finding.value = len(found.failures)
            finding.measured = f"{len(found.failures)} of {found.answered} requests failed"
            finding.note = ", ".join(found.failures[:12])
        finding.expect(found.answered > 0, "no request was answered")
