"""Check whether an engine runs images of an architecture, and provide an emulator if not."""

import io
import struct
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import docker
import requests
from docker.errors import DockerException, ImageNotFound, NotFound

from harness.core.errors import EnvironmentMissingError, NoProcessorError
from harness.core.labels import STAND_IN, run_labels
from harness.core.proof import StandIn
from harness.core.stages import Architecture
from harness.core.temporary import temporary_directory
from harness.engine.binfmt import emulator
from harness.engine.import_image import load_layer
from harness.engine.provision import Engine

PROCESSOR = "processor"
_ANSWER = 42
_PROBE_SECONDS = 60
# exit(42) in machine code; Linux's system call numbers are in syscalls(2).
_PROGRAMS = {
    Architecture.AMD64: bytes.fromhex("b83c000000 bf2a000000 0f05"),
    Architecture.ARM64: bytes.fromhex("a80b80d2 400580d2 010000d4"),
}
_ADDRESS = 0x400000
_HEADERS = struct.Struct("<16sHHIQQQIHHHHHH IIQQQQQQ")


@contextmanager
def processor_for(engine: Engine, architecture: str) -> Iterator[StandIn | None]:
    """Let `engine` run images of `architecture` for the duration of the block.

    Yields None for the engine's own processor, else the stand-in: an emulator, registered with the
    kernel while it is needed. Raises `NoProcessorError` if no emulator can be provided.
    """
    own = engine.architecture
    if architecture == own:
        yield None
        return
    if architecture not in {*Architecture}:
        raise NoProcessorError(f"{architecture}: not proven: no release supports it")
    wanted = Architecture(architecture)
    stand_in = StandIn(
        kind=PROCESSOR,
        replaces=wanted.value,
        why=f"emulated on {own}: time limits are relaxed and prove neither SC-002 nor SC-003",
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(emulator(wanted, lambda: runs(engine.client, wanted)))
        except EnvironmentMissingError as error:
            raise NoProcessorError(
                f"{wanted}: not proven: this {own} engine cannot run it ({error})."
                " Install qemu-user-static, or use a machine of that architecture"
            ) from error
        yield stand_in


def runs(client: docker.DockerClient, architecture: Architecture) -> bool:
    """Whether `client`'s engine runs a tiny program of `architecture`."""
    container = client.containers.create(
        _probe(client, architecture),
        network_mode="none",
        labels=run_labels(),
        platform=f"linux/{architecture}",
    )
    try:
        container.start()
        return int(container.wait(timeout=_PROBE_SECONDS)["StatusCode"]) == _ANSWER
    except (DockerException, requests.RequestException):
        return False  # "exec format error"; the wording depends on the engine's version
    finally:
        with suppress(NotFound):
            container.remove(force=True)


def _probe(client: docker.DockerClient, architecture: Architecture) -> str:
    """Reference of an image that holds only a program that exits with `_ANSWER`."""
    reference = f"finfocus-standin/probe:{architecture}"
    with suppress(ImageNotFound):
        client.images.get(reference)
        return reference
    with temporary_directory("probe") as directory:
        layer = directory / "layer.tar"
        with tarfile.open(layer, "w") as tar:
            program = _executable(architecture)
            entry = tarfile.TarInfo("probe")
            entry.size, entry.mode = len(program), 0o755
            tar.addfile(entry, io.BytesIO(program))
        config = {"Entrypoint": ["/probe"], "Labels": {STAND_IN: "probe"}}
        load_layer(client, layer, reference, architecture, config)
    return reference


def _executable(architecture: Architecture) -> bytes:
    """A static executable that only exits: ELF-64 header, program header, code (elf(5))."""
    code = _PROGRAMS[architecture]
    size = _HEADERS.size + len(code)
    entry = _ADDRESS + _HEADERS.size
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    machine = architecture.elf_machine
    headers = _HEADERS.pack(
        # e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize,
        # e_phnum, e_shentsize, e_shnum, e_shstrndx
        *(identity, 2, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0),
        # p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
        *(1, 5, 0, _ADDRESS, _ADDRESS, size, size, 0x10000),
    )
    return headers + code
