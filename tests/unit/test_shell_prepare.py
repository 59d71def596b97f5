"""What the entrypoint reads from the machine and writes for the proxy, run on the host."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .shell import bash

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")

MIB = 1024 * 1024


def write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")


@pytest.mark.parametrize(
    ("cpus", "count"), [("0", 1), ("0-3", 4), ("0-3,8", 5), ("1,3,5-6", 4), ("0-127", 128)]
)
def test_a_cpu_set_is_counted(cpus: str, count: int, tmp_path: Path) -> None:
    """A list of processors and ranges, as printed by the kernel, becomes a count."""
    status = tmp_path / "status"
    status.write_text(f"Name:\tbash\nCpus_allowed_list:\t{cpus}\nMems_allowed_list:\t0\n")
    assert bash(f"cpu_set '{status}'; echo \"$REPLY\"").stdout == f"{count}\n"


@pytest.mark.parametrize(
    ("files", "count"),
    [
        pytest.param({}, 16, id="no-cgroup"),
        pytest.param({"cpu.max": "max 100000\n"}, 16, id="v2-no-limit"),
        pytest.param({"cpu.max": "150000 100000\n"}, 2, id="v2-rounded-up"),
        pytest.param({"cpu.max": "50000 100000\n"}, 1, id="v2-half"),
        pytest.param({"cpu.max": "9900000 100000\n"}, 16, id="v2-more-than-the-set"),
        pytest.param({"cpu.max": "\n"}, 16, id="v2-empty"),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16, id="v1-none"
        ),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3, id="v1"
        ),
    ],
)
def test_processors_are_the_smaller_of_cpu_set_and_quota(
    files: dict[str, str], count: int, tmp_path: Path
) -> None:
    """A quota of either cgroup version applies, rounded up, if it is below the CPU set."""
    write(tmp_path, files)
    script = f"cpu_set() {{ REPLY=16; }}; FF_CGROUP='{tmp_path}'; processors; echo \"$REPLY\""
    assert bash(script).stdout == f"{count}\n"


def test_start_parallel_is_what_the_machine_has_or_the_setting(tmp_path: Path) -> None:
    """The default is one parsing region per processor; the setting overrides it."""
    script = f"""
    check_binaries() {{ :; }}; check_ports() {{ :; }}; cpu_set() {{ REPLY=8; }}
    FF_CGROUP='{tmp_path}'; load_settings; echo "${{ff_setting[start_parallel]}}"
    """
    assert bash(script).stdout == "8\n"
    assert bash(script, FINFOCUS_START_PARALLEL="0").stdout == "0\n"
    assert bash(script, FINFOCUS_START_PARALLEL="3").stdout == "3\n"


def check_memory(home: Path, cgroup: Path, sizes: dict[str, int]) -> str:
    """Return the output of `check_memory` for binaries of these sizes (sparse files)."""
    (home / "bin").mkdir(parents=True)
    for region, size in sizes.items():
        with (home / "bin" / f"finfocus-plugin-aws-public-{region}").open("wb") as file:
            file.truncate(size)
    regions = " ".join(sizes)
    done = bash(f"ff_home='{home}' FF_CGROUP='{cgroup}' ff_regions=({regions}); check_memory")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_memory_limit_below_the_need_is_one_warning(file: str, tmp_path: Path) -> None:
    """The warning has both numbers and the two fixes; 158 MB of binary need about 568 MB."""
    write(tmp_path, {file: f"{512 * MIB}\n"})
    sizes = dict.fromkeys(("us-east-1", "eu-west-1"), 158_000_000)
    line = json.loads(check_memory(tmp_path / "home", tmp_path, sizes))
    assert (line["level"], line["region"]) == ("warn", "-")
    need = (30_000_000 + 2 * (8_000_000 + 4 * 140_000_000)) // MIB
    assert f"the memory limit is 512 MiB and 2 regions need about {need} MiB" in line["message"]
    assert "raise the limit" in line["message"] and "FINFOCUS_REGIONS" in line["message"]


@pytest.mark.parametrize(
    ("group", "victim"), [("0", "one region after another"), ("1", "the whole container")]
)
def test_the_memory_warning_says_what_the_kernel_kills(
    group: str, victim: str, tmp_path: Path
) -> None:
    """With memory.oom.group, as on Kubernetes 1.28 and later, one region takes all others along."""
    write(tmp_path, {"memory.max": f"{64 * MIB}\n", "memory.oom.group": f"{group}\n"})
    line = json.loads(check_memory(tmp_path / "home", tmp_path, {"us-east-1": 158_000_000}))
    assert f"the kernel kills {victim}:" in line["message"]


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({}, id="no-cgroup"),
        pytest.param({"memory.max": "max\n"}, id="v2-no-limit"),
        pytest.param({"memory.max": f"{4096 * MIB}\n"}, id="v2-enough"),
        pytest.param({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, id="v1-no-limit"),
        pytest.param({"memory/memory.limit_in_bytes": f"{4096 * MIB}\n"}, id="v1-enough"),
    ],
)
def test_no_memory_limit_or_enough_is_silent(files: dict[str, str], tmp_path: Path) -> None:
    """Without a limit, or with a sufficient one, nothing is logged."""
    write(tmp_path, files)
    assert check_memory(tmp_path / "home", tmp_path, {"us-east-1": 158_000_000}) == ""


def test_a_small_binary_needs_no_price_list(tmp_path: Path) -> None:
    """A binary without a price list does not lower the estimate for the others."""
    write(tmp_path, {"memory.max": f"{30_000_000 + 8_000_000}\n"})
    assert check_memory(tmp_path / "home", tmp_path, {"us-east-1": 1000}) == ""


def proxy_settings(files: str, state: Path, **environ: str) -> dict[str, str]:
    """Return the variables in the settings file under a limit of open files."""
    script = f"""
    ulimit -n {files}
    ff_state='{state}' ff_regions=(us-east-1 eu-west-1) ff_memory_limit= ff_memory_need=77
    read_numbers "$ff_home/settings"
    limit_connections
    limit_requests
    proxy_settings
    """
    done = bash(script, **environ)
    if done.returncode:
        return {"message": json.loads(done.stdout)["message"], "code": str(done.returncode)}
    head, *rows = done.stdout.rstrip().splitlines()
    assert head == "global"
    words = [row.split(maxsplit=2) for row in rows]
    assert {word[0] for word in words} == {"setenv"}
    return {name: value.strip('"') for _, name, value in words}


def test_proxy_settings_file(tmp_path: Path) -> None:
    """The file sets the variables that the proxy's configuration and its Lua service read."""
    found = proxy_settings("1024", tmp_path)
    assert found.pop("FF_HOME").endswith("/image")
    assert found.pop("FF_BIND") in {"::", "*"}
    assert found == {
        "FF_STATE_DIR": str(tmp_path),
        "FF_METRICS_PORT": "9090",
        "FF_MAXCONN": "480",
        "FF_REGION_CONNECTIONS": "198",
        "FF_REGION_ACCEPTED": "223",
        "FF_REGION_MAXCONN": "224",
        "FF_REGIONS": "us-east-1 eu-west-1",
        "FF_MEMORY_LIMIT": "0",
        "FF_MEMORY_NEED": "77",
        "FF_RESTART_LIMIT": "3",
        "FF_ACCESS_LOG": "0",
    }


@pytest.mark.parametrize(
    ("files", "wanted", "served"),
    [("20000", "", 1000), ("20000", "2000", 2000), ("2048", "100", 100), ("1024", "", 198)],
)
def test_connections_of_a_region_follow_the_setting_and_the_file_limit(
    tmp_path: Path, files: str, wanted: str, served: int
) -> None:
    """All that is accepted has its two files, and the metrics port keeps some connections."""
    found = proxy_settings(
        files, tmp_path, **({"FINFOCUS_MAX_CONNECTIONS": wanted} if wanted else {})
    )
    assert int(found["FF_REGION_CONNECTIONS"]) == served
    assert served < int(found["FF_REGION_ACCEPTED"]) < int(found["FF_REGION_MAXCONN"])
    assert 2 * int(found["FF_MAXCONN"]) + 64 <= int(files)
    assert int(found["FF_MAXCONN"]) - 2 * int(found["FF_REGION_MAXCONN"]) >= 16


@pytest.mark.parametrize(("files", "wanted"), [("64", ""), ("32", ""), ("70", ""), ("1024", "500")])
def test_too_few_files_are_a_wrong_setting(tmp_path: Path, files: str, wanted: str) -> None:
    """A limit of 64 files or less, or one too low for the setting, exits with 64 and the fix."""
    environ = {"FINFOCUS_MAX_CONNECTIONS": wanted} if wanted else {}
    found = proxy_settings(files, tmp_path, **environ)
    assert found["code"] == "64"
    assert files in found["message"] and "--ulimit nofile=" in found["message"]


@pytest.mark.parametrize(
    ("environ", "check", "protocol"),
    [
        ({}, False, False),
        ({"FINFOCUS_PLUGIN_HEALTH_ENDPOINT": "true"}, False, False),
        (
            {"FINFOCUS_PLUGIN_WEB_ENABLED": "true", "FINFOCUS_PLUGIN_HEALTH_ENDPOINT": "true"},
            True,
            True,
        ),
    ],
)
def test_fr_009_proxy_checks_the_health_endpoint_only_where_it_is_on(
    environ: dict[str, str], check: bool, protocol: bool
) -> None:
    """FR-009 (health endpoint): with it on, the check is a request, otherwise a connection."""
    text = bash("ff_regions=(us-west-2); ff_rotation=; proxy_regions", **environ).stdout
    assert "@" not in text.replace("@-", "")
    assert ("option httpchk GET /healthz" in text) == check
    assert ("check-proto h1" in text) == protocol
    assert ":8002" in text and "127.0.0.1:18002" in text


def test_state_directory_falls_back_where_there_is_no_room(tmp_path: Path) -> None:
    """An unwritable directory exits with 64 and the fix."""
    script = "make_state() { return 1; }; ff_regions=(us-east-1); make_streams"
    done = bash(script, TMPDIR=str(tmp_path))
    assert done.returncode == 64
    assert "mount a tmpfs there" in json.loads(done.stdout)["message"]


def test_streams_are_private_fifos(tmp_path: Path) -> None:
    """Two FIFOs per region and three more, accessible only to the owner."""
    script = f"""
    eval "real_$(declare -f make_state)"
    make_state() {{ real_make_state '{tmp_path}'; }}
    ff_regions=(us-east-1); make_streams; echo "$ff_state"
    """
    state = Path(bash(script).stdout.strip())
    assert state.parent == tmp_path and state.stat().st_mode & 0o777 == 0o700
    fifos = {path.name for path in state.iterdir() if path.is_fifo()}
    assert fifos == {"supervisor", "proxy", "events", "us-east-1.out", "us-east-1.err"}
    assert {path.stat().st_mode & 0o777 for path in state.iterdir() if path.is_fifo()} == {0o600}
