"""What a release says of itself: its manifest, with the SHA-256 and size of every other file, and where each file lies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from tasks.core.definitions.terms import Definition, Name
from tasks.core.errors import DefinitionError
from tasks.core.models.model_version import FileRecord, Sha256, Utc
from tasks.core.releasing.archive import refused
from tasks.core.runs.manifest import CodeRecord

MANIFEST, LOCK, ROWS, SCORES = "release.json", "requirements.lock", "sample/rows.parquet", "sample/scores.parquet"
WHEEL, MODEL, PROJECT, SAMPLE = "wheel", "model", "project", "sample"
LARGEST_MANIFEST_BYTES = 4 << 20
LARGEST_FILE_BYTES, LARGEST_TOTAL_BYTES = 2 << 30, 4 << 30
MOST_FILES = 2000

ReleaseName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="Letters, digits, '.', '_' and '-', beginning with a letter or digit.",
        examples=["2013.07"],
    ),
]


class ReleasedModel(Definition):
    """The version as it was numbered at home; elsewhere its digest counts."""

    name: Name
    version: Annotated[int, Field(ge=1)]
    digest: Sha256
    alias: Name
    format: str

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


class Promotion(Definition):
    """How the version came by its alias at home: by the gate's verdict, or without one."""

    at: Utc
    by: str
    reason: str
    forced: bool = False
    was_first: Annotated[
        bool, Field(description="Whether nobody held the alias: there was nothing to be held against.")
    ]
    verdict: Annotated[
        JsonValue, Field(description="The gate's, as the registry's history keeps it; none: set by hand.")
    ]

    @property
    def passed(self) -> bool:
        """Whether the gate let it pass."""
        return self.verdict is not None and not self.forced


class Sample(Definition):
    """Rows of a published window, and what the model made of them."""

    as_of: str
    run_id: str
    rows: Annotated[int, Field(ge=1)]
    scored: Annotated[
        Literal["published", "at release"],
        Field(
            description="published: the scores that readers saw. at release: no window of this version was published."
        ),
    ]
    tolerance: Annotated[float, Field(ge=0, description="How far a score may be off elsewhere; above 1 in proportion.")]


class ReleaseManifest(Definition):
    """release.json: the first file of a release. Its SHA-256 is the release's digest."""

    release_version: Literal[1] = 1
    job: Name
    name: ReleaseName
    made_by: str
    created_at: Annotated[
        Utc | None, Field(description="None: not said, so that the same inputs give the same bytes.")
    ] = None
    job_digest: Sha256
    inherited: Annotated[dict[str, JsonValue], Field(description="What the job had from defaults.yaml.")]
    modules: Annotated[tuple[str, ...], Field(description="The project's own Python packages that came along.")] = ()
    left_out: Annotated[tuple[str, ...], Field(description="What the job names and is not needed to score.")] = ()
    model: ReleasedModel
    promotion: Promotion
    code: CodeRecord
    environment: dict[str, str]
    sample: Sample
    files: dict[str, FileRecord]

    def __str__(self) -> str:
        return f"{self.job} {self.name}"

    @property
    def wheel(self) -> str:
        return next(name for name in self.files if name.startswith(f"{WHEEL}/"))

    @property
    def order(self) -> tuple[Any, ...]:
        """Of two releases the one with the larger is the newer, so far as they say."""
        return (self.promotion.at, *([self.created_at] if self.created_at else []))

    def under(self, folder: str) -> dict[str, FileRecord]:
        """The files of a folder, by their names in it."""
        return {
            name.removeprefix(f"{folder}/"): record
            for name, record in self.files.items()
            if name.startswith(f"{folder}/")
        }

    def to_json(self) -> bytes:
        return self.model_dump_json(indent=2).encode() + b"\n"


def read_release(content: bytes, where: str) -> ReleaseManifest:
    """A release's manifest; ReleaseRefused says what is wrong with it."""
    try:
        manifest = ReleaseManifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(str(part) for part in first["loc"]) or "the file"
        raise refused(f"{MANIFEST} in {where} cannot be read: {at}: {first['msg']}") from error
    _check_sizes(manifest, where)
    _check_members(manifest, where)
    return manifest


def check_release_name(name: str) -> str:
    try:
        return TypeAdapter[str](ReleaseName).validate_python(name)
    except ValidationError as error:
        raise DefinitionError(
            f"'{name[:100]}' is not a name for a release",
            state="nothing was written",
            next_step="give --version of letters, digits, '.', '_' and '-', such as 2013.07",
        ) from error


def _check_sizes(manifest: ReleaseManifest, where: str) -> None:
    sizes = {name: record.size_bytes for name, record in manifest.files.items()}
    total = sum(sizes.values())
    if len(sizes) > MOST_FILES or total > LARGEST_TOTAL_BYTES:
        raise refused(
            f"{where} says that it holds {len(sizes):,} files of {total:,} bytes, which is more than a release may"
        )
    if wrong := [name for name, size in sizes.items() if not 0 <= size <= LARGEST_FILE_BYTES]:
        raise refused(f"{where} says that '{wrong[0]}' has {sizes[wrong[0]]:,} bytes, which no file of a release has")


def _check_members(manifest: ReleaseManifest, where: str) -> None:
    known = {LOCK, ROWS, SCORES}
    folders = (f"{WHEEL}/", f"{MODEL}/", f"{PROJECT}/")
    if strange := [name for name in manifest.files if name not in known and not name.startswith(folders)]:
        raise refused(f"{where} holds '{strange[0]}', which is no part of a release")
    hidden = [key for key in manifest.under(PROJECT) if any(part.startswith(".") for part in key.split("/"))]
    if hidden:
        raise refused(f"{where} holds '{PROJECT}/{hidden[0]}', and no file of a job is hidden")
    if missing := {ROWS, SCORES} - set(manifest.files):
        raise refused(f"{where} lacks {min(missing)}")
    wheels = manifest.under(WHEEL)
    if len(wheels) != 1 or not next(iter(wheels)).endswith(".whl") or "/" in next(iter(wheels)):
        raise refused(f"{where} must hold one wheel, and holds {sorted(wheels) or 'none'}")
