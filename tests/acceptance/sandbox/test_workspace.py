"""What a sandbox leaves in its workspace, and who else can see or follow it."""

import asyncio
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse

from agent.artifacts import list_artifacts, open_artifact
from agent.sockets import SOCKET_NAME, serve_socket
from pilotlight.errors import NotFound
from pilotlight.settings import Settings
from runner.sandbox.launch import launch, prepare_host
from runner.sandbox.spec import LaunchSpec
from tests.fixtures.sandbox import run_inside, with_code


def run(spec: LaunchSpec, code: str) -> str:
    exit_code, output, complaint = asyncio.run(run_inside(with_code(spec, code)))
    assert exit_code == 0, complaint
    return output


def test_links_and_pipes_that_a_runner_left_are_not_followed_by_the_host(spec: LaunchSpec, tmp_path: Path) -> None:
    assert spec.workspace is not None
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    run(spec, f"""
import os
os.makedirs('outputs/real'); open('outputs/real/fine.txt', 'w').write('own')
os.symlink({str(secret)!r}, 'plan.md'); os.symlink({str(secret)!r}, 'outputs/link.txt')
os.symlink({str(tmp_path)!r}, 'outputs/folder'); os.symlink('..', 'outputs/up')
import socket; socket.socket(socket.AF_UNIX).bind('outputs/socket')
""".strip())  # fmt: skip
    (spec.workspace / "outputs/pipe").touch()
    assert [artifact.path for artifact in list_artifacts(spec.workspace)] == ["outputs/pipe", "outputs/real/fine.txt"]
    for path in ("plan.md", "outputs/link.txt", "outputs/folder/secret", "outputs/up/plan.md", "outputs/socket"):
        with pytest.raises(NotFound):
            open_artifact(spec.workspace, path)


def test_links_are_not_followed_when_folders_change_hands(spec: LaunchSpec, tmp_path: Path) -> None:
    assert spec.workspace is not None
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (spec.workspace / "folder").symlink_to(outside)
    (spec.workspace / "file").symlink_to(outside / "file")
    prepare_host(spec)
    assert {path.stat().st_uid for path in (outside, outside / "file")} == {os.getuid()}
    assert (spec.workspace / "file").lstat().st_uid == (spec.uid or os.getuid())


def test_one_session_does_not_see_the_workspace_of_another(spec: LaunchSpec, tmp_path: Path) -> None:
    run(spec, "open('/work/mine', 'w').write('first')")
    other = tmp_path / "other"
    other.mkdir()
    second = replace(spec, workspace=other)
    output = run(second, "import os; print(os.listdir('/work'), os.path.exists('/mnt'), os.listdir('/opt/app'))")
    assert output.startswith("[] False ['runner', 'prompts', 'pilotlight']") or output.startswith("[] False")
    assert "mine" not in output
    assert "mine" in run(spec, "import os; print(os.listdir('/work'))")


def test_a_runner_of_an_earlier_turn_does_not_reach_the_socket_of_a_later_one(spec: LaunchSpec, tmp_path: Path) -> None:
    """The folder of a turn is removed with it; another one by the same path is another folder."""
    code = "import os, socket, time; print('started', flush=True)\n"
    code += "while os.path.exists('/run/gateway/gateway.sock'): time.sleep(0.02)\n"
    code += "time.sleep(0.5); print(socket.socket(socket.AF_UNIX).connect_ex('/run/gateway/gateway.sock'))"
    folder = tmp_path / "socket"

    async def go() -> str:
        with socket.socket(socket.AF_UNIX) as first:
            first.bind(str(folder / SOCKET_NAME))
            process = await launch(with_code(spec, code))
            assert process.stdout is not None
            await process.stdout.readline()
        (folder / SOCKET_NAME).unlink()
        folder.rmdir()
        folder.mkdir()
        with socket.socket(socket.AF_UNIX) as later:
            later.bind(str(folder / SOCKET_NAME))
            later.listen()
            (folder / SOCKET_NAME).chmod(0o666)
            folder.chmod(0o755)
            return (await process.communicate())[0].decode()

    assert asyncio.run(go()).startswith("2\n")


def test_descriptors_sent_to_the_gateway_are_not_kept(tmp_path: Path) -> None:
    async def go() -> None:
        async with serve_socket(Settings(home=tmp_path), "turn", PlainTextResponse("ok")) as folder:
            path = str(folder / SOCKET_NAME)
            await asyncio.to_thread(_send_descriptors, path)
            before = _count_descriptors()
            for _ in range(5):
                assert b"ok" in await asyncio.to_thread(_send_descriptors, path)
            await asyncio.sleep(0.2)
            assert _count_descriptors() <= before + 5

    asyncio.run(go())


def _send_descriptors(path: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        request = b"GET / HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n"
        socket.send_fds(client, [request], [client.fileno()] * 200)
        answer = b""
        while block := client.recv(4096):
            answer += block
        return answer


def _count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208
