"""A local Netra: OTLP in, the Netra API out, faults on request.

It shares no code with the client that it tests: of the bridge, it imports only ``core``.
"""

from netra_otel_bridge.emulator.emulator import Emulator, EmulatorOptions, serve
from netra_otel_bridge.emulator.fault_table import FAULTS
from netra_otel_bridge.emulator.store import Store

__all__ = ["FAULTS", "Emulator", "EmulatorOptions", "Store", "serve"]
