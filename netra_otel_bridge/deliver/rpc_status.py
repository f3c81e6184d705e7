"""Read the ``google.rpc.Status`` that servers put into a response: its message, and the delay that it asks for."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # googleapis-common-protos has no types
from google.rpc.status_pb2 import Status as RpcStatus  # type: ignore[import-untyped]  # googleapis-common-protos has no types


def retry_info_s(metadata: Mapping[str, str | bytes]) -> float | None:
    """Return the delay in seconds that a gRPC response asks for.

    It is in ``RetryInfo``, in the status details of the trailing metadata.
    """
    status = rpc_status(_bytes(metadata.get("grpc-status-details-bin")))
    if status is not None:
        for detail in status.details:
            info = RetryInfo()
            if detail.Is(RetryInfo.DESCRIPTOR) and detail.Unpack(info):
                return max(0.0, float(info.retry_delay.seconds) + float(info.retry_delay.nanos) / 1e9)
    return None


def rpc_status(body: bytes) -> RpcStatus | None:
    """Return the ``google.rpc.Status`` in ``body``, if there is one that is not empty."""
    status = RpcStatus()
    try:
        status.ParseFromString(body)
    except DecodeError:
        return None
    return status if status.code or status.message else None


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
