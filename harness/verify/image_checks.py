"""Checks of the image's settings and content, without running its service."""

from docker.errors import DockerException

from harness.build.base import name_and_version
from harness.core.errors import HarnessError
from harness.core.labels import BASE_NAME
from harness.core.recorder import Limits
from harness.core.regions import BINARY_PREFIX, load_regions
from harness.core.settings import default_base
from harness.core.stages import Architecture
from harness.core.text import quantity
from harness.engine.container import Options, created
from harness.verify import published as outside
from harness.verify.target import Target

SIZE_TARGET = 2.0e9
SIZE_TOLERANCE = 0.10
OVERHEAD_LIMIT = 25e6
EXECUTABLE = "executable"

# One line per regional binary: path, size, whether this user may execute it, the first 20 bytes.
_BINARIES = f"""
find / -xdev -type f -name '{BINARY_PREFIX}*' 2>/dev/null | while read -r path; do
  mode=no; [ ! -x "$path" ] || mode={EXECUTABLE}
  printf '%s %s %s ' "$path" "$(stat -c %s "$path")" "$mode"
  od -A n -v -t x1 -N 20 "$path" | tr -d ' \\n'
  echo
done
echo "os $(. /etc/os-release && echo "$ID $VERSION_ID")"
"""


def check_image(target: Target) -> None:
    """FR-001 to FR-004, FR-007 to FR-009, FR-012 and SC-001, as far as the image shows them."""
    rows, system = _look_inside(target)
    _check_base(target, system)
    _check_version(target)
    _check_binaries(target, rows)
    _check_settings(target)
    _check_size(target, rows)


def check_from_outside(target: Target) -> str:
    """FR-003 and FR-004 of an image that cannot be run here; return a one-line summary."""
    rows = outside.binaries(target)
    _check_binaries(target, rows)
    machine = Architecture(target.architecture).elf_machine
    right = sum(_elf_machine(rows.get(name)) == machine for name in target.names)
    return (
        f"without running it: {right} of {len(target.names)} binaries are executables"
        f" for {target.architecture}"
    )


def _look_inside(target: Target) -> tuple[dict[str, tuple[int, bool, bytes]], str]:
    """Size, executability and ELF header of each regional binary; the system's name."""
    rows: dict[str, tuple[int, bool, bytes]] = {}
    system = ""
    options = Options(extra={"entrypoint": ["sh", "-c", _BINARIES], "network_mode": "none"})
    with target.recorder.check("FR-004", "the image's files can be listed") as finding:
        with created(target.client, target.reference, target.names, options) as container:
            container.start(())
            if not container.wait_dead(30):
                raise HarnessError("a shell in the image timed out after 30 s")
            output = container.output()
        for line in output.splitlines():
            match line.split():
                case ["os", *words]:
                    system = " ".join(words)
                case [path, size, mode, header] if size.isdecimal():
                    region = path.rpartition("/")[2].removeprefix(BINARY_PREFIX)
                    rows[region] = (int(size), mode == EXECUTABLE, bytes.fromhex(header))
        finding.measured = f"{len(rows)} regional binaries, {system or 'unknown system'}"
        finding.expect(rows, f"no file {BINARY_PREFIX}* in the image")
    return rows, system


def _check_base(target: Target, system: str) -> None:
    base = default_base()
    default = name_and_version(base)
    title = f"base is {default.replace(':', ' ').capitalize()}"
    with target.recorder.check("FR-001", title, limit=base) as finding:
        finding.measured = system
        kinds = [stand_in.kind for stand_in in target.stand_ins()]
        if "base image" in kinds:
            finding.skip(f"the base is a stand-in ({system}), according to the image's label")
        named = name_and_version(target.labels.get(BASE_NAME, base))
        wanted = named.replace(":", " ")
        right = f"{system}.".startswith(f"{wanted}.")
        finding.expect(right, f"the base is {system or 'unknown'}")
        if right and named != default:
            finding.skip(f"built on {named} by request; the default is {default}")


def _check_version(target: Target) -> None:
    with target.recorder.check("FR-002", "the image is labelled with its version") as finding:
        finding.measured = target.version or "no label"
        finding.expect(target.version, "label org.opencontainers.image.version is missing")


def _check_binaries(target: Target, rows: dict[str, tuple[int, bool, bytes]]) -> None:
    count = len(target.names)
    exactly = Limits(floor=count, bound=count)
    title = "every regional binary is present and executable"
    with target.recorder.check("FR-004", title, limits=exactly) as finding:
        good = [name for name in target.names if name in rows and rows[name][1]]
        finding.value = len(good)
        for name in target.names:
            finding.expect(name in rows, f"{name} has no binary")
            finding.expect(name not in rows or rows[name][1], f"{name} is not executable")
    architecture = target.architecture
    title = f"every binary is built for {architecture}"
    with target.recorder.check("FR-003", title, limits=exactly) as finding:
        machine = Architecture(architecture).elf_machine
        right = [name for name in target.names if _elf_machine(rows.get(name)) == machine]
        finding.value = len(right)
        for name in target.names:
            finding.expect(name in right, f"{name} is not an ELF executable for {architecture}")


def _elf_machine(row: tuple[int, bool, bytes] | None) -> int | None:
    """`e_machine` (ELF-64 header, offset 18) of a row's binary."""
    if row is None or not row[2].startswith(b"\x7fELF"):
        return None
    return int.from_bytes(row[2][18:20], "little")


def _check_settings(target: Target) -> None:
    config = target.config
    with target.recorder.check("FR-007", "the image's user is 65532") as finding:
        finding.measured = str(config.get("User") or "root")
        finding.expect(
            finding.measured.partition(":")[0] in {"65532", "plugin"},
            f"the user is {finding.measured}",
        )
    environ = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    for number, name in (("008", "WEB_ENABLED"), ("009", "HEALTH_ENDPOINT")):
        key = f"FINFOCUS_PLUGIN_{name}"
        with target.recorder.check(f"FR-{number}", f"{key} defaults to true") as finding:
            finding.measured = environ.get(key, "not set")
            finding.expect(finding.measured == "true", f"{key} is {finding.measured}")
    with target.recorder.check("FR-012", "the ports are exposed") as finding:
        exposed = {int(port.partition("/")[0]) for port in config.get("ExposedPorts") or {}}
        finding.measured = ", ".join(str(port) for port in sorted(exposed)) or "none"
        for port in target.ports:
            finding.expect(port in exposed, f"{port} is not exposed")
    with target.recorder.check("FR-015", "the image has a health check") as finding:
        command = (config.get("Healthcheck") or {}).get("Test") or []
        finding.measured = " ".join(command) or "none"
        finding.expect(command and command != ["NONE"], "HEALTHCHECK is missing")


def _check_size(target: Target, rows: dict[str, tuple[int, bool, bytes]]) -> None:
    size = int(target.image.attrs["Size"])
    stands_in = "plugin" in [stand_in.kind for stand_in in target.stand_ins()]
    # The target size is for all regions of the table; the base is then a small part.
    table = load_regions()
    aim = SIZE_TARGET * len(target.regions) / len(table)
    part = len(target.regions) < len(table)
    title = "image size without its base" if part else "image size"
    limits = Limits(unit="B", floor=aim * (1 - SIZE_TOLERANCE), bound=aim * (1 + SIZE_TOLERANCE))
    with target.recorder.check("SC-001", title, limits=limits, headline=True) as finding:
        finding.measured = quantity(size, "B")
        if stands_in and not target.full_size:
            finding.skip("the stand-in plugins are small. Run again with --full-size.")
        finding.value = size - (_base_size(target) if part else 0)
        finding.measured = quantity(finding.value, "B")
    title = "everything but the regional binaries adds little to the base"
    limits = Limits(unit="B", bound=OVERHEAD_LIMIT)
    with target.recorder.check("SC-001", title, limits=limits) as finding:
        binaries = sum(rows[name][0] for name in rows)
        finding.value = size - binaries - _base_size(target)


def _base_size(target: Target) -> int:
    """Size of the image's base: the image in its label, else its lowest layer."""
    facts = target.facts()
    try:
        base = target.client.images.get(facts.labels[BASE_NAME])
        if (
            base.attrs["RootFS"]["Layers"]
            == [x.digest for x in facts.layers][: len(base.attrs["RootFS"]["Layers"])]
        ):
            return int(base.attrs["Size"])
    except (KeyError, DockerException):
        pass
    return facts.layers[0].size_bytes or 0 if facts.layers else 0
