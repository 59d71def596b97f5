"""The release, in order: build, verify, scan, seal for each architecture, then publish."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from harness.build.assets import MISSING, is_local
from harness.build.image import DIRTY, REPOSITORY_NAME, revision
from harness.core.console import say, warn
from harness.core.errors import NotProvenError, RegistryError, UsageError
from harness.core.omit import Omit
from harness.core.regions import names_in
from harness.core.stages import Architecture
from harness.engine.provision import Engine, container_engine
from harness.machine.sweep import sweep
from harness.pipeline import BuildConfig, build, report, verified, verified_region
from harness.publish.chart import Chart, PublishedChart, make_chart, publish_chart
from harness.publish.page import Sizes, render_page, sizes_of
from harness.publish.plan import Plan, TagPolicy, make_plan, render_plan
from harness.publish.push import PublishedImage, publish
from harness.publish.record import RECORD, Record, only_release
from harness.publish.results import write_results
from harness.publish.seal import SealedImage, check_export, seal, unseal
from harness.publish.sign import KEY, Signer
from harness.publish.tags import ImageVersion, parse, previous
from harness.publish.trial import pull_and_run
from harness.registry import Credentials, RegistryClient, Repository, Transport, find_credentials
from harness.registry.credentials import GITHUB
from harness.scan import ScanOptions, scan
from harness.stand_ins.registry import Profile, local_registry

LOCAL = "localhost"
REPOSITORY = f"rshade/{REPOSITORY_NAME}"
RepositoryName = Annotated[
    str, typer.Option("--repository", help="Repository name.", envvar="HARNESS_REPOSITORY")
]
RegistryCa = Annotated[
    Path | None, typer.Option("--registry-ca", help="CA certificate of the registry (PEM).")
]


@dataclass(frozen=True, kw_only=True)
class ReleaseConfig:
    """What to release, from which inputs, and to which registry."""

    build: Annotated[BuildConfig, Omit("architecture", "output", "reference")]
    architectures: Annotated[
        tuple[Architecture, ...],
        typer.Option("--arch", help="Architecture to seal with --export."),
    ] = ()  # () for all
    export: Annotated[
        Path | None,
        typer.Option(help="Build, prove, scan and seal into this directory; do not publish."),
    ] = None
    sources: Annotated[
        tuple[Path, ...],
        typer.Option("--from", help="Publish a directory sealed with --export (repeatable)."),
    ] = ()
    registry: Annotated[
        str, typer.Option(help="Registry host; localhost starts a temporary one.")
    ] = GITHUB
    repository: RepositoryName = REPOSITORY
    ca: RegistryCa = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False
    resume: Annotated[bool, typer.Option("--resume", help="Resume a failed run.")] = False
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Do not sign, although there is a key or identity.")
    ] = False
    profile: Annotated[
        Profile,
        typer.Option("--registry-profile", help="What --registry localhost starts or imitates."),
    ] = Profile.GHCR
    tags: TagPolicy = field(default_factory=TagPolicy)
    scan: Annotated[ScanOptions, Omit("cache", "stand_ins")] = field(default_factory=ScanOptions)
    output: Annotated[Path, typer.Option(help="Directory for records, sealed images, page.")] = (
        Path("release-out")
    )

    @property
    def target(self) -> str:
        """The destination to show and record; without a local registry's port, which changes."""
        if self.registry == LOCAL:
            return f"{LOCAL}/{self.repository}"
        return str(Repository.from_names(self.registry, self.repository))

    @property
    def tag(self) -> str:
        """The tag of the release that never moves; `UsageError` for an invalid version."""
        return ImageVersion(parse(self.build.version), self.tags.revision).tag

    def check(self) -> None:
        """Raise `UsageError` for options that cannot be combined."""
        parse(self.build.version)
        if MISSING in names_in(self.build.without):
            raise UsageError("a release does not accept --without missing. Use --without REGION.")
        if self.build.without and self.sources:
            raise UsageError("--without has no effect on sealed images. Drop --without or --from.")
        if self.export and (self.sources or self.resume or self.dry_run):
            raise UsageError("--export only builds and seals. Drop --from, --resume and --dry-run.")
        if self.export and len(self.architectures) != 1:
            raise UsageError("--export seals one architecture. Select it with --arch.")
        if self.architectures and not self.export:
            raise UsageError(
                "a release includes every architecture. Use --arch with --export only."
            )


@dataclass(frozen=True, kw_only=True)
class Access:
    """Address of the registry and how to authenticate."""

    repository: Repository
    credentials: Credentials | None
    ca: Path | None


def export(config: ReleaseConfig) -> SealedImage:
    """Build, verify and scan one architecture, and seal it into `config.export`."""
    config.check()
    directory = config.export or _export_of(config, config.architectures[0])
    _check_checkout(config)
    check_export(directory)
    with container_engine() as engine:
        sweep(engine.client)
        return _made(engine, config, config.architectures[0], directory)


def print_plan(plan: Plan, chart: Chart) -> None:
    """Print for people what a release would publish."""
    print(f"{render_plan(plan)}\n  chart        {chart}")


def release(
    config: ReleaseConfig, *, show_plan: Callable[[Plan, Chart], None] = print_plan
) -> PublishedImage | None:
    """Publish one release for all architectures; for a dry run call `show_plan`, return None.

    Raises a `HarnessError` that says what is missing and where nothing was published.
    """
    config.check()
    version = config.build.version
    with (
        only_release(config.tag, config.target, config.output),
        _told_how_to_go_on(config),
        container_engine() as engine,
        _registry(config) as access,
        RegistryClient(Transport(access.repository, access.credentials, ca=access.ca)) as client,
    ):
        signer = _signer(config, access)
        record = _record(config)
        images = _sealed(engine, config, record)
        if config.dry_run:
            plan = make_plan(images, version, client, config.tags)
            show_plan(plan, make_chart(plan))
            return None
        before = _before(config, client)
        published = publish(
            images,
            version,
            client,
            record=record,
            policy=config.tags,
            signer=signer,
            trial=lambda plan: pull_and_run(engine, plan, access.credentials),
            ca=access.ca,
        )
        published = replace(published, chart=_publish_chart(published.plan, access, record, signer))
        write_results(published, render_page(published, before), config.output, os.environ)
        return published


def _publish_chart(plan: Plan, access: Access, record: Record, signer: Signer) -> PublishedChart:
    """Publish the Helm chart of the images that were just published."""
    chart = make_chart(plan)
    with RegistryClient(Transport(chart.repository, access.credentials, ca=access.ca)) as client:
        return publish_chart(chart, client, record=record, signer=signer, ca=access.ca)


def _signer(config: ReleaseConfig, access: Access) -> Signer:
    """Choose how to sign; a rehearsal without a key makes one, so that it signs as a release."""
    if config.registry == LOCAL and not (config.unsigned or config.dry_run or os.environ.get(KEY)):
        return Signer.with_new_key()
    return Signer.from_environ(
        os.environ, offline=access.repository.on_loopback, unsigned=config.unsigned
    )


@contextmanager
def _told_how_to_go_on(config: ReleaseConfig) -> Iterator[None]:
    """Print the command that resumes after a failure; finished work is kept."""
    try:
        yield
    except (KeyboardInterrupt, RegistryError):
        if (config.output / RECORD).exists() and not config.dry_run:
            again = f"harness release {config.build.version} --resume --output {config.output}"
            warn(f"  to resume: {again}, with the same options")
        raise


def _sealed(engine: Engine, config: ReleaseConfig, record: Record) -> list[SealedImage]:
    """One sealed image per architecture: given, reused, or built now."""
    if sources := config.sources or record.sources:
        return [unseal(source) for source in sources]
    sweep(engine.client)
    images = []
    for architecture in Architecture:
        directory = _export_of(config, architecture)
        image = _kept(directory) if config.resume else None
        image = image or _made(engine, config, architecture, directory)
        record.done(f"{architecture} sealed", image.digest)
        images.append(image)
    return images


def _kept(directory: Path) -> SealedImage | None:
    """The image that the resumed run already sealed; None if it must be rebuilt."""
    try:
        return unseal(directory)
    except NotProvenError as error:
        say(f"  rebuilding: {error}")
        return None


def _made(
    engine: Engine, config: ReleaseConfig, architecture: Architecture, directory: Path
) -> SealedImage:
    """Run the stages of one architecture; each accepts only the previous stage's output."""
    _check_checkout(config)
    check_export(directory)  # now, not after an hour of work
    work = config.output / architecture.value
    made = replace(config.build, architecture=architecture, output=work)
    built = build(engine, made)
    proven = verified(engine, built, made, work / "proof")
    options = replace(config.scan, stand_ins=config.build.policy)
    scanned = scan(engine, proven, options, work / "scan")
    alone = partial(
        verified_region, engine, built, work / "proof", full_size=config.build.full_size
    )
    sealed = seal(engine.client, scanned, directory, alone)
    report(sealed.proof, work / "proof")
    say(f"  sealed {architecture}: {sealed.image.manifest.digest} in {directory}")
    return sealed


def _check_checkout(config: ReleaseConfig) -> None:
    """Raise `UsageError` if a release, other than a rehearsal, had uncommitted changes."""
    here = config.export is None and (
        config.registry == LOCAL
        or Repository.from_names(config.registry, config.repository).on_loopback
    )
    if revision().endswith(DIRTY) and not (here or is_local(config.build.version)):
        raise UsageError(
            "the checkout has uncommitted changes, so no commit describes the image. Commit or"
            " stash them, or rehearse with --registry localhost."
        )


def _export_of(config: ReleaseConfig, architecture: Architecture) -> Path:
    return config.output / f"sealed-{architecture}"


def _record(config: ReleaseConfig) -> Record:
    if config.resume:
        return Record.load(config.output, config.tag, config.target)
    return Record.new(
        config.output,
        config.tag,
        config.target,
        config.sources,
        written=not config.dry_run,
    )


def _before(config: ReleaseConfig, client: RegistryClient) -> tuple[str, Sizes] | None:
    """The previous release and its sizes, for comparison."""
    last = previous(config.build.version, client.tags(), config.tags.revision)
    sizes = sizes_of(client, last) if last else None
    return (last, sizes) if last and sizes else None


@contextmanager
def _registry(config: ReleaseConfig) -> Iterator[Access]:
    """The registry of `config`, or a local stand-in for the duration of the run."""
    if config.registry != LOCAL:
        repository = Repository.from_names(config.registry, config.repository)
        found = find_credentials(repository.host, os.environ)
        yield Access(repository=repository, credentials=found, ca=config.ca)
        return
    directory = config.output / "registry"
    with local_registry(directory, profile=config.profile, keep=config.resume) as local:
        repository = Repository.from_names(local.host, config.repository)
        say(f"  stand-in: registry in place of {local.stand_in.replaces}: {local.stand_in.why}")
        yield Access(repository=repository, credentials=local.credentials, ca=local.ca)
