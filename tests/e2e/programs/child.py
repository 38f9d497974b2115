"""A child for the end-to-end tests: what it does is its first argument."""

import os
import sys

import trio

import podkit
from podkit.protocol import TextDone
from podkit_transports import TcpTransport, UnixTransport


class Echo(podkit.abc.Worker):
    async def work(self, run, emit):
        word, _, rest = run.text.partition(" ")
        match word:
            case "write":
                await run.pod.files.write_text(rest, "written by the child\n")
                emit(TextDone(text=f"wrote {rest}"))
            case "try":
                try:
                    await run.pod.files.write_text(rest, "x")
                except podkit.PodkitError as error:
                    emit(TextDone(text=f"{type(error).__name__}: {error}"))
            case "spawn":
                launcher = podkit.ProcessLauncher([sys.executable, "-P", __file__])
                child = await run.pod.spawn("leaf", scope=podkit.Scope.write(rest), launcher=launcher)
                emit(TextDone(text=f"spawned {child.name}"))
            case "keep":
                launcher = podkit.ProcessLauncher([sys.executable, "-P", __file__])
                scope = podkit.Scope.write(rest)
                child = await run.pod.spawn("leaf", scope=scope, launcher=launcher, on_parent_death="keep")
                emit(TextDone(text=f"spawned {child.name}"))
            case "environment":
                fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
                emit(TextDone(text=f"{os.environ.get('PODKIT_BIRTH')} {sys.argv} {fds}"))
            case "sh":
                done = await run.pod.run_process(["/bin/sh", "-c", rest])
                emit(TextDone(text=f"{done.status} {done.text} {done.stderr.decode()}"))
            case "sleep":
                emit(TextDone(text="sleeping"))
                await trio.sleep_forever()
            case _:
                emit(TextDone(text=f"you said {run.text}"))


def main():
    match sys.argv[1:]:
        case ["exit"]:
            print("no such configuration: flux capacitor", file=sys.stderr)
            sys.exit(7)
        case ["silent"]:
            trio.run(trio.sleep_forever)
        case ["tcp", key]:
            trio.run(lambda: podkit.adopt_pod(Echo(), transport=TcpTransport(key=key)))
        case ["stubborn"]:
            import signal

            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            trio.run(trio.sleep_forever)
        case _:
            trio.run(lambda: podkit.adopt_pod(Echo(), transport=UnixTransport()))


if __name__ == "__main__":
    main()
