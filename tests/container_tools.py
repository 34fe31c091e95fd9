"""What Docker would do with a Dockerfile and a compose file, as far as that can be done without Docker."""

import fnmatch
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
DOCKERFILE, COMPOSE = ROOT / "deployments/Dockerfile", ROOT / "deployments/compose.yaml"
# The folders that the image makes: in a test they lie below a folder of its own.
_OWN = r"(?<![\w./-])/(?=(?:opt/lamplighter|home/lamplighter|lake|project|build)\b)"


def instructions(text):
    """The instructions of a Dockerfile, each with its words as one line; comments within a continuation are left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.strip().split(None, 1)) for line in joined.splitlines() if line.strip()]


def stages(text):
    """The instructions of each stage, its FROM first; what stands before the first one is left out."""
    found = []
    for name, words in instructions(text):
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, words))
    return found


def context_files(root=ROOT):
    """The files that Docker would send, by .dockerignore: the last pattern that matches decides."""
    patterns = [line for line in (root / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "-z"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    return [name for name in listed if name and (root / name).is_file() and not _ignored(name, patterns)]


def _ignored(name, patterns):
    ignored = False
    for line in patterns:
        allows, pattern = line.startswith("!"), line.removeprefix("!")
        parts = name.split("/")
        above = ["/".join(parts[: i + 1]) for i in range(len(parts))]
        # '**/' is any number of folders, none as well.
        forms = [pattern, pattern.removeprefix("**/")] if pattern.startswith("**/") else [pattern]
        tails = above if not pattern.startswith("**/") else [*above, *parts]
        if any(fnmatch.fnmatchcase(tail, form) for tail in tails for form in forms):
            ignored = not allows
    return ignored


@dataclass
class Image:
    """The image's files in a folder of their own, and what it says of how it is run."""

    root: Path
    environment: dict = field(default_factory=dict)
    folder: str = "/"
    user: int | None = None
    command: list = field(default_factory=list)
    healthcheck: list = field(default_factory=list)
    ran: list = field(default_factory=list)

    def here(self, text):
        """The text, with the image's folders where they lie in this test."""
        return re.sub(_OWN, f"{self.root}/", text)

    def start(self, command, environment, log):
        """A process of the image's user, in its folder, with nothing in its environment but what it is given."""
        given = {name: self.here(str(value)) for name, value in (self.environment | environment).items()}
        return subprocess.Popen(
            [self.here(word) for word in command],
            cwd=self.here(self.folder),
            env=given | {"TMPDIR": str(self.root / "tmp")},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=self.user,
            group=self.user,
            extra_groups=[],
        )


def build(context):
    """Runs each instruction of the Dockerfile on a copy of the context; what it makes is an Image."""
    folder = Path(tempfile.mkdtemp(prefix="lamplighter-image-"))
    folder.chmod(0o755)
    image = Image(folder / "image")
    built = Path(folder / "built")
    for number, stage in enumerate(stages(DOCKERFILE.read_text())):
        if number:
            image.root.rename(built)
        _prepare(image, folder / "tools")
        for name, words in stage:
            _carry_out(image, name, words, context, built)
    shutil.rmtree(built)
    return image


def _prepare(image, tools):
    """What the base image has of its own, as far as this Dockerfile asks for it: python, users, and /tmp."""
    tools.mkdir(exist_ok=True)
    image.environment, image.folder, image.user = {"PATH": f"{tools}:/usr/bin:/bin"}, "/", None
    (image.root / "etc").mkdir(parents=True)
    (image.root / "tmp").mkdir()
    (image.root / "tmp").chmod(0o1777)
    for name in ("passwd", "group", "shadow", "gshadow"):
        (image.root / "etc" / name).touch()
    (image.root / "etc/login.defs").write_text("")
    python = _base(tools.with_name("base"))
    image.environment["LD_LIBRARY_PATH"] = str(python / "lib")
    _tool(tools / "python", f'exec {python}/bin/python{sys.version_info.major}.{sys.version_info.minor} "$@"')
    for name in ("useradd", "groupadd"):
        # With a prefix they add to the files there, and make the home below it.
        _tool(tools / name, f'root={image.root}\nexec /usr/sbin/{name} --prefix "$root" "${{@//"$root"/}}"')


def _base(copied):
    """Where Python lies; a copy of it, in links, where it lies in a home that the image's user may not enter."""
    prefix = Path(sys.base_prefix)
    if all(folder.stat().st_mode & stat.S_IXOTH for folder in prefix.parents):
        return prefix
    if not copied.exists():
        subprocess.run(["cp", "-al", str(prefix), str(copied)], check=True)
    return copied


def _tool(path, line):
    path.write_text(f"#!/bin/bash\n{line}\n")
    path.chmod(0o755)


def _carry_out(image, name, words, context, built):
    """One instruction; a kind that is not here is one that this test would have passed over."""
    does = {
        "ENV": _set,
        "WORKDIR": _go_to,
        "USER": lambda image, words: setattr(image, "user", int(words.split(":")[0])),
        "COPY": lambda image, words: _copy(image, words.split(), context, built),
        "RUN": _run,
        "CMD": lambda image, words: setattr(image, "command", yaml.safe_load(words)),
        "HEALTHCHECK": lambda image, words: setattr(image, "healthcheck", yaml.safe_load(words.partition("CMD ")[2])),
        "FROM": lambda *_: None,
        "LABEL": lambda *_: None,
    }
    does[name](image, words)


def _set(image, words):
    for pair in shlex.split(words):
        variable, _, value = pair.partition("=")
        image.environment[variable] = image.here(value.replace("$PATH", image.environment["PATH"]))


def _go_to(image, words):
    image.folder = words
    Path(image.here(words)).mkdir(parents=True, exist_ok=True)


def _copy(image, words, context, built):
    *sources, target = [word for word in words if not word.startswith("--")]
    if any(word.startswith("--from=") for word in words):
        (source,) = sources
        # Moved, not copied: nothing may be needed of the stage before but this.
        shutil.move(built / source.lstrip("/"), _made(image.root / target.lstrip("/")))
        return
    into = Path(image.here(image.folder)) / target
    for source in sources:
        if (context / source).is_dir():
            shutil.copytree(context / source, into)
        else:
            shutil.copy2(context / source, into / source if into.is_dir() else _made(into))


def _made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _run(image, words):
    # How packages are found from here is this machine's own business.
    machine = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    done = subprocess.run(
        ["/bin/sh", "-ec", image.here(words)],
        cwd=image.here(image.folder),
        env=machine | image.environment | {"HOME": os.environ.get("HOME", "/root")},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    image.ran.append(words)
    assert done.returncode == 0, f"RUN {words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def compose(variables=None):
    """The compose file with its variables put in; without any, only those that have a default may be there."""
    return yaml.safe_load(interpolated(COMPOSE.read_text(), variables or {}))


def interpolated(text, variables):
    """`${NAME}`, `${NAME:-default}` and `${NAME:?why}` as Compose reads them; KeyError for one that must be given."""

    def value(found):
        name, kind, more = found.groups()
        if variables.get(name):
            return variables[name]
        if kind == ":?" or kind is None:
            raise KeyError(f"{name}: {more}")
        return more

    return re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, text)


def writable_by(folder, user):
    """The files below a folder that this user could change, were it not their owner's business alone."""
    found = []
    for path in [folder, *folder.rglob("*")]:
        mode = path.lstat()
        if not path.is_symlink() and (mode.st_uid == user or mode.st_mode & stat.S_IWOTH):
            found.append(path)
    return found
