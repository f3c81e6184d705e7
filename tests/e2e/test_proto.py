"""The interface, as its users' tools see it, breaks no rule, is complete, and is the source of the Python modules."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.support.cli import ROOT
from tests.support.grpc_clients import proto_tools

PROTO = ROOT / "proto"
PACKAGE = Path("netra_otel_bridge", "v1")
FILES = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
INTERFACE = (PROTO / PACKAGE / "bridge.proto").read_text()
REASON = re.compile(r"[A-Z]+(?:_[A-Z]+)+|STATE|DEFECT|CONFIGURATION|TIMEOUT")
LATER = {"AnyValue.string_value_strindex", "KeyValue.key_strindex"}
"""Fields that the oldest supported opentelemetry-proto does not have yet."""
CODES = {code.name for code in grpc.StatusCode}


def protoc(*arguments: str) -> None:
    """Compile with only ``proto/`` and the compiler's own files to include; a warning is a failure."""
    words = [str(proto_tools() / "bin" / "python"), "-m", "grpc_tools.protoc", "-I", str(PROTO), *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def make_proto(place: Path, interface: str) -> subprocess.CompletedProcess[str]:
    """Run ``make proto`` with this text as the interface, in a directory with a copy of what it reads."""
    shutil.copy(ROOT / "Makefile", place)
    shutil.copytree(PROTO, place / "proto")
    (place / "proto" / PACKAGE / "bridge.proto").write_text(interface)
    (place / ".venv-proto").symlink_to(proto_tools())
    (place / PACKAGE).mkdir(parents=True)
    words = ["make", "-o", "Makefile", "proto"]
    return subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=300, check=False)


def test_it_is_clean_and_the_modules_are_what_it_makes(tmp_path: Path) -> None:
    """``make proto`` finds nothing to format and no broken rule of buf, and generates the modules that are in the repository."""
    made = make_proto(tmp_path, INTERFACE)
    assert made.returncode == 0, made.stdout + made.stderr
    modules = {path.name: path.read_bytes() for path in (tmp_path / PACKAGE).iterdir()}
    assert len(modules) == 4
    for name, made_now in modules.items():
        assert (ROOT / PACKAGE / name).read_bytes() == made_now, f"{name} is not what `make proto` makes"


@pytest.mark.parametrize("breakage", ["message lower {}", "message Undocumented {}", "message  Spaced {}"])
def test_what_is_not_clean_is_found(tmp_path: Path, breakage: str) -> None:
    """A name of the wrong form, a message without a comment, and a wrong layout each fail ``make proto``."""
    made = make_proto(tmp_path, f"{INTERFACE}\n{breakage}\n")
    assert made.returncode != 0
    assert not list((tmp_path / PACKAGE).iterdir())


def test_otlp_is_that_of_opentelemetry(tmp_path: Path) -> None:
    """``proto/`` declares OTLP's messages exactly as the installed opentelemetry-proto does."""
    protoc(f"--descriptor_set_out={tmp_path / 'all'}", "--include_imports", *FILES)
    ours = {file.name: file for file in FileDescriptorSet.FromString((tmp_path / "all").read_bytes()).file}
    for module in (common_pb2, resource_pb2, trace_pb2):
        theirs = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(theirs)
        here, there = set(_facts(ours[theirs.name])), set(_facts(theirs))
        assert there - here == set()
        assert {fact.partition(":")[0] for fact in here - there} <= LATER


def test_it_compiles_alone(tmp_path: Path) -> None:
    """An ordinary ``protoc`` compiles the whole folder, with nothing else to include and no warning."""
    protoc(f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}", *FILES)
    made = {f"{path.relative_to(tmp_path)}" for path in tmp_path.rglob("*_pb2.py")}
    assert made == {file.replace(".proto", "_pb2.py") for file in FILES}


def test_every_reason_is_documented() -> None:
    """The interface lists exactly the error reasons that the server gives."""
    given = {
        node.value
        for path in (ROOT / "netra_otel_bridge" / "service" / "rpc").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and REASON.fullmatch(node.value)
    }
    listed = {word for comment in re.findall("//.*", INTERFACE) for word in REASON.findall(comment)}
    assert given - CODES == listed - CODES


def _facts(file: FileDescriptorProto) -> Iterator[str]:
    """Return what a file declares: a line for each field, value, reserved range and option."""
    for message in file.message_type:
        yield from _of_message(message, "")
    for enum in file.enum_type:
        yield from _of_enum(enum, "")
    yield f"package: {file.package}, {file.syntax}, {file.options}"


def _of_message(message: DescriptorProto, around: str) -> Iterator[str]:
    name = f"{around}{message.name}"
    for field in message.field:
        kind = (field.number, field.type, field.label, field.type_name, field.proto3_optional, str(field.options))
        group = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
        yield f"{name}.{field.name}: {kind} {group}"
    yield from (f"{name} reserves: {one.start} to {one.end}" for one in message.reserved_range)
    for nested in message.nested_type:
        yield from _of_message(nested, f"{name}.")
    for enum in message.enum_type:
        yield from _of_enum(enum, f"{name}.")


def _of_enum(enum: EnumDescriptorProto, around: str) -> Iterator[str]:
    yield from (f"{around}{enum.name}.{value.name}: {value.number}" for value in enum.value)
