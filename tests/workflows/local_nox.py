"""The `nox` of a local run of the workflows: the real commands, with local parts beside them.

What differs from the real sessions, and only that: `wait_release` asks a local server, `release`
publishes to a local registry, and `release --export` hands out what the tests sealed already,
since the e2e tests build, prove and seal the same images anyway. The JSON file that LOCAL_NOX names
says where these are.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run one session; its exit code."""
    settings = json.loads(Path(os.environ["LOCAL_NOX"]).read_text(encoding="utf-8"))
    session, arguments = sys.argv[2], sys.argv[sys.argv.index("--") + 1 :]
    if session == "release" and "--export" in arguments:
        architecture = arguments[arguments.index("--arch") + 1]
        sealed = settings["sealed"][architecture]
        print(f"local nox: {architecture} was sealed by the tests before, it is not built again")
        shutil.copytree(sealed, arguments[arguments.index("--export") + 1])
        return 0
    if session == "release_notes":
        print("local nox: there is no GitHub to write the notes to")
        return 0
    command = [sys.executable, "-m", "harness", session.replace("_", "-"), *arguments]
    command += settings["options"][session]
    print(f"local nox: {session} with {' '.join(settings['options'][session])}")
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
