#!/usr/bin/env python3
"""Runs the commands of pages as they are written there, in a clean place, and compares what they print.

    tools/try-docs.py --bin target/debug                 README.md and docs/operating.md
    tools/try-docs.py --bin target/debug --verbose PAGE  with everything that was printed
    tools/try-docs.py --here --bin DIR PAGE              on this machine as it is, in this folder: for containers

A clean place is a copy of the tracked files, with namespaces of its own for the network, processes and mounts (so it
needs root): /etc, /var, /run, /root and /usr/local may be written to, and nothing of that is left. `systemctl` and
`journalctl` are stand-ins there that start and stop what the unit says, as its user; whatever else is asked of them
is skipped and counted. `make try-systemd` runs the same page under a real one.

Blocks that count, in the order of the page and in one shell:

    ```sh        each line is a command that ends with 0
    ```console   `$ ` begins a command, lines that follow are what it prints, standard error included

`# exit 1` as a remark of a command names another exit status; one that `echo $?` shows next may be any. In what is printed

    …                    is anything within a line, and any number of lines where it stands alone
    numbers, hashes      may differ, except statuses (three digits that begin with 1 to 5, without a unit)
    names of days and months, the width of gaps, and remarks behind two spaces (`  # …`)  as well.

HTML comments steer, and are seen by nobody else:

    <!-- try: run COMMANDS -->      what a reader would have done already, or the fault itself
    <!-- try: file PATH -->         the next block is that file
    <!-- try: not REASON -->        the next block is not run

Exit 0: all as written, or skipped where there is no root. 1: something differs, with page and line.
"""
import argparse
import fcntl
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", "docs/operating.md"]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE = 60.0
# What the stand-ins say of what they cannot do.
NEEDS_SYSTEMD = 125
TOOLS = ["curl", "git", "make", "nc", "openssl", "runuser", "setpriv", "ss", "systemd-sysusers", "unshare"]
OVERLAID = ["/etc", "/var", "/usr/local", "/root"]

SYSTEMCTL = r"""#!/bin/bash
# A stand-in: starts and stops what the unit says, as its user and with its capability.
set -u
unit=$(ls /etc/systemd/system/dhal.service /usr/local/lib/systemd/system/dhal.service /usr/lib/systemd/system/dhal.service 2>/dev/null | head -1)
line() { sed -n "s/^$1=//p" "$unit"; }
pid() { cat /run/dhal/dhal.pid 2>/dev/null; }
# Here nobody takes care of processes whose parent is gone: they stay as zombies.
lives() { grep -qs '^State:.[^Z]' "/proc/$1/status"; }
runs() { [ -n "$(pid)" ] && lives "$(pid)"; }
start() {
  runs && return 0
  install -d -o dhal -g dhal /run/dhal /var/lib/dhal /var/cache/dhal /var/log/dhal
  setpriv --reuid=dhal --regid=dhal --init-groups --inh-caps=-all,+net_bind_service \
    --ambient-caps=-all,+net_bind_service $(line ExecStart) </dev/null >>/run/journal 2>&1 &
  local child=$!
  for _ in $(seq 200); do
    curl -sf -o /dev/null --unix-socket /run/dhal/admin.sock http://admin/readyz && return 0
    kill -0 $child 2>/dev/null || break
    sleep 0.1
  done
  echo "Job for dhal.service failed because the control process exited with error code." >&2
  return 1
}
stop() {
  runs || return 0
  local old; old=$(pid)
  kill "$old"
  for _ in $(seq 300); do lives "$old" || return 0; sleep 0.1; done
  return 1
}
case "$*" in
  daemon-reload) ;;
  "start dhal"|"enable --now dhal") start ;;
  "stop dhal") stop ;;
  "restart dhal") stop; start ;;
  "reload dhal") $(line ExecReload) >>/run/journal 2>&1 || { echo "Job for dhal.service failed." >&2; exit 1; } ;;
  "show -p MainPID dhal") echo "MainPID=$(pid)" ;;
  "show -p MainPID --value dhal") pid ;;
  "kill --signal=USR1 dhal.service") kill -USR1 "$(pid)" ;;
  "is-active dhal") if runs; then echo active; else echo inactive; exit 3; fi ;;
  *) exit 125 ;;
esac
"""

JOURNALCTL = r"""#!/bin/bash
case "$*" in
  "-u dhal -o cat"*) cat /run/journal ;;
  *) exit 125 ;;
esac
"""


class Block:
    """A fenced block: its language, the line of its first line, its lines, and how it is steered."""

    def __init__(self, language, line, steer):
        self.language, self.line, self.steer, self.lines = language, line, steer, []


def blocks(text):
    """Blocks and hidden commands of a page, in their order."""
    found, block, comment, steer = [], None, None, None
    for number, line in enumerate(text.splitlines(), 1):
        if comment is not None:
            if line.strip() == "-->":
                found.append(comment)
                comment = None
            else:
                comment.lines.append(line)
        elif block is not None:
            if line.strip() == "```":
                found.append(block)
                block = None
            else:
                block.lines.append(line)
        elif line.startswith("```"):
            block = Block(line[3:].strip(), number + 1, steer)
            steer = None
        elif match := re.match(r"<!-- try: (\w+) ?(.*)$", line):
            verb, rest = match.groups()
            if verb == "run":
                hidden = Block("hidden", number, None)
                if rest.endswith("-->"):
                    hidden.lines.append(rest.removesuffix("-->").strip())
                    found.append(hidden)
                else:
                    hidden.lines += [rest] if rest else []
                    comment = hidden
            elif verb in ("file", "not") and rest.endswith("-->"):
                steer = (verb, rest.removesuffix("-->").strip())
            else:
                raise SystemExit(f"line {number}: `try:` takes run, file or not, and ends with -->")
    if block or comment or steer:
        raise SystemExit("the page ends within a block, a comment, or after a comment that steers none")
    return found


def commands(block):
    """Commands of a block: line, text, and the lines it prints or None."""
    found, lines, index = [], block.lines, 0
    while index < len(lines):
        line, begin = lines[index], index
        index += 1
        if block.language == "console":
            if not line.startswith("$ "):
                if found and line.strip() != "":
                    found[-1][2].append((block.line + begin, line))
                elif line.strip():
                    raise SystemExit(f"line {block.line + begin}: printed by no command")
                continue
            line = line[2:]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        text = [line]
        heredoc = re.search(r"<<-?\s*['\"]?(\w+)['\"]?", line)
        while index < len(lines) and (heredoc or text[-1].endswith("\\")):
            text.append(lines[index])
            index += 1
            if heredoc and text[-1].strip() == heredoc[1]:
                break
        found.append((block.line + begin, "\n".join(text), [] if block.language == "console" else None))
    return found


HASH = re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{8,}\b")
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
DAYS = re.compile(r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b")


def shape(line):
    """A pattern for the lines that look like this one."""
    line = re.sub(r"\s{2,}# .*$", "", line.rstrip())
    pattern, at = "", 0
    tokens = re.compile(rf"…|\s+|{HASH.pattern}|{NUMBER.pattern}|{DAYS.pattern}")
    for match in tokens.finditer(line):
        pattern += re.escape(line[at:match.start()])
        at, token = match.end(), match[0]
        if token == "…":
            pattern += ".*?"
        elif token.isspace():
            pattern += r"\s+"
        elif HASH.fullmatch(token):
            pattern += r"[0-9a-f]+"
        elif token[0].isalpha():
            pattern += "[A-Z][a-z]{2}"
        elif re.fullmatch(r"[1-5]\d\d", token) and not re.match(r" ?(ms|s|B|KiB|MiB|%)\b", line[at:]):
            pattern += token
        else:
            pattern += NUMBER.pattern
    return re.compile(pattern + re.escape(line[at:]) + r"\s*")


def differs(expected, printed):
    """The first expected line that nothing printed looks like, or what is printed beyond them; None: as expected."""
    anything = object()
    shapes = [anything if line.strip() == "…" else shape(line) for _, line in expected]
    # reached[i]: the first i expected lines may have taken what was printed so far.
    reached, furthest = {0}, 0

    def skipping(states):
        states = set(states)
        for state in sorted(states):
            while state < len(shapes) and shapes[state] is anything:
                state += 1
                states.add(state)
        return states

    reached = skipping(reached)
    for line in printed:
        after = set()
        for state in reached:
            if state < len(shapes):
                if shapes[state] is anything:
                    after.add(state)
                elif shapes[state].fullmatch(line):
                    after.add(state + 1)
        after = skipping(after)
        if not after:
            state = max(reached)
            if state < len(shapes):
                return expected[state][0], f"expected: {expected[state][1]}\n       got: {line}"
            return expected[-1][0] if expected else None, f"nothing more expected\n       got: {line}"
        reached = after
    if len(shapes) in reached:
        return None
    state = max(reached)
    return expected[state][0], f"expected: {expected[state][1]}\n       got: nothing more"


class Shell:
    """One shell for a page."""

    def __init__(self, folder, environment):
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=folder, env=environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.last, self.left = 0, b""

    def run(self, text):
        """Its exit status and the lines it printed."""
        mark = f"-- {os.urandom(6).hex()} "
        quoted = "'" + text.replace("'", "'\\''") + "'"
        self.process.stdin.write(
            f"(exit {self.last}); eval {quoted} </dev/null\nprintf '\\n{mark}%d\\n' $?\n".encode())
        self.process.stdin.flush()
        end, out = time.monotonic() + PATIENCE, self.left
        pattern = re.compile(rb"\n" + mark.encode() + rb"(\d+)\n")
        while not (match := pattern.search(out)):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not piece:
                self.close()
                raise TimeoutError(out.decode(errors="replace"))
            out += piece
        self.left = out[match.end():]
        self.last = int(match[1])
        lines = out[:match.start()].decode(errors="replace").splitlines()
        while lines and not lines[-1].strip():
            lines.pop()
        # Empty lines within what is printed are as little worth as the width of gaps.
        return self.last, [line for line in lines if line.strip()]

    def close(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Page:
    """A page that is tried."""

    def __init__(self, path, options):
        self.path, self.options = path, options
        self.failures, self.ran, self.skipped = [], 0, []

    def fail(self, line, text):
        self.failures.append(f"{self.path}:{line}: {text}")
        print(f"FAILED {self.failures[-1]}", flush=True)

    def try_all(self, shell, folder):
        try:
            for block in blocks((folder / self.path).read_text()):
                self.try_block(shell, folder, block)
        except TimeoutError as why:
            self.fail(self.at, f"not done within {PATIENCE:.0f} s\n{why}")

    def try_block(self, shell, folder, block):
        verb, rest = block.steer or (None, None)
        if verb == "not":
            self.skipped.append(f"{self.path}:{block.line}: {rest}")
        elif verb == "file":
            path = folder / rest
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(block.lines) + "\n")
        elif block.language == "hidden":
            self.at = block.line
            status, printed = shell.run("\n".join(block.lines))
            if self.options.verbose:
                print(f"  (hidden, line {block.line})", *printed, sep="\n")
            if status:
                self.fail(block.line, f"hidden commands: exit {status}\n" + "\n".join(printed))
            # The reader's last command is the one before.
        elif block.language in ("sh", "console"):
            all_of_them = commands(block)
            for index, (line, text, expected) in enumerate(all_of_them):
                self.at = line
                is_asked = index + 1 < len(all_of_them) and all_of_them[index + 1][1].startswith("echo $?")
                self.try_command(shell, line, text, expected, is_asked)

    def try_command(self, shell, line, text, expected, is_asked):
        began = time.monotonic()
        status, printed = shell.run(text)
        if self.options.verbose:
            print(f"{self.path}:{line} $ {text}\n" + "\n".join(printed) + f"\n[{status}, {time.monotonic() - began:.1f} s]")
        if status == NEEDS_SYSTEMD and not self.options.here:
            self.skipped.append(f"{self.path}:{line}: needs systemd: {text.splitlines()[0]}")
            return
        self.ran += 1
        match = re.search(r"\s# exit (\d+)\b", text)
        wanted = int(match[1]) if match else 0
        is_asked = is_asked or (expected is not None and not match and finds(text))
        if status != wanted and not is_asked:
            self.fail(line, f"{text}: exit {status}, expected {wanted}\n" + "\n".join(printed))
        elif expected is not None and (difference := differs(expected, printed)):
            at, why = difference
            self.fail(at or line, f"{text}\n  {why}\n  all of it:\n" + "\n".join(printed))


def finds(text):
    """A pipe into a filter may find nothing; its printed lines say what counts."""
    return re.search(r"\|\s*(grep|head)\b", text) is not None


def loopback_up():
    with socket.socket() as any_socket:
        name = struct.pack("16sh", b"lo", 0x1 | 0x40)
        fcntl.ioctl(any_socket, 0x8914, name + bytes(22))


def clean_place(scratch, binaries):
    """Makes it, and returns the folder that commands run in."""
    loopback_up()
    layers = scratch / "layers"
    layers.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", layers], check=True)
    for place in OVERLAID:
        upper, work = layers / place.strip("/").replace("/", "-"), layers / (place.strip("/").replace("/", "-") + ".work")
        upper.mkdir()
        work.mkdir()
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={place},upperdir={upper},workdir={work}", place],
            check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
    for left in ["/etc/dhal", "/var/lib/dhal", "/var/cache/dhal", "/var/log/dhal"]:
        shutil.rmtree(left, ignore_errors=True)
    tree = copied(scratch)
    release = tree / "target/release"
    release.mkdir(parents=True)
    for name in ("dhal", "dhakacart-origin"):
        (release / name).symlink_to(binaries / name)
    tools = scratch / "tools"
    tools.mkdir()
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    return tree, tools


def copied(scratch):
    """A checkout of what is there, but for what git ignores."""
    tree = scratch / "dhal"
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-coz", "--exclude-standard"], capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", tree]
    for step in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "as it is"]):
        subprocess.run([*git, *step], check=True)
    return tree


def try_pages(options):
    environment = {
        "PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8",
        "TERM": "dumb", "BIN": str(options.bin), "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
    failures, skipped, ran = [], [], 0
    if options.here:
        folder = Path.cwd()
        environment["BINARY"] = str(options.bin / "dhal")
    else:
        folder, tools = clean_place(options.inside, options.bin)
        environment["PATH"] = f"{tools}:{environment['PATH']}"
    for path in options.pages:
        page, shell = Page(path, options), Shell(folder, environment)
        page.try_all(shell, folder)
        shell.close()
        failures += page.failures
        skipped += page.skipped
        ran += page.ran
    for line in skipped:
        print(f"SKIPPED {line}")
    print(f"{', '.join(options.pages)}: {ran} commands as they are written, {len(failures)} otherwise, {len(skipped)} skipped")
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, required=True, help="folder with dhal and dhakacart-origin")
    parser.add_argument("--here", action="store_true", help="on this machine as it is")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--verbose", action="store_true", help="show what was printed")
    parser.add_argument("pages", nargs="*", default=PAGES)
    options = parser.parse_args()
    options.bin = options.bin.resolve()
    if not (options.bin / "dhal").exists():
        print(f"{options.bin}/dhal is missing", file=sys.stderr)
        return 1
    if options.here or options.inside:
        return try_pages(options)
    isolated = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if why := impossible(isolated):
        print(f"SKIPPED: the commands of {', '.join(options.pages)}: {why}", file=sys.stderr)
        return 0
    # Each page in a place of its own, all at once: most of the time they wait.
    started = [isolated_run(isolated, options, page) for page in options.pages]
    return max([run.wait() for run in started])


def impossible(isolated):
    """Why there can be no clean place here; empty: there can."""
    if os.getuid() != 0:
        return "it needs root"
    if missing := [tool for tool in TOOLS if not shutil.which(tool, path=PATH)]:
        return f"{', '.join(missing)} missing"
    overlay = ("mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work && "
               "mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc")
    tried = subprocess.run([*isolated, "sh", "-c", overlay], capture_output=True, text=True)
    return f"no namespaces or overlays: {tried.stderr.strip()}" if tried.returncode else ""


def isolated_run(isolated, options, page):
    """Begins to try a page; its folder is removed by whoever waits."""
    scratch = tempfile.TemporaryDirectory(prefix="dhal-docs-")
    # The service's user has to reach the programs in it.
    os.chmod(scratch.name, 0o755)
    arguments = ["--bin", options.bin, "--inside", scratch.name, *(["--verbose"] if options.verbose else [])]
    run = subprocess.Popen([*isolated, sys.executable, __file__, *arguments, page])
    run.scratch = scratch
    return run


if __name__ == "__main__":
    sys.exit(main())
