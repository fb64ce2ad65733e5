"""The processor's instruction sets that matter for matrix products, and TensorFlow's oneDNN."""

from __future__ import annotations

import importlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX512_VNNI",
    "avx_vnni": "AVX_VNNI",
    "avx512_bf16": "AVX512_BF16",
    "amx_tile": "AMX",
}
"""Flag of /proc/cpuinfo → its usual name."""
SWITCHING_ON = ("AVX512_VNNI", "AVX_VNNI", "AVX512_BF16", "AMX")
"""TensorFlow on x86 turns its oneDNN ops on by itself where the processor has one of these."""
SWITCH = "TF_ENABLE_ONEDNN_OPTS"
"""The environment variable that turns them on or off."""


@dataclass(frozen=True)
class Processor:
    """What the system says about the processor."""

    name: str
    cores: int
    """Cores that this process may use."""
    instruction_sets: dict[str, bool] | None
    """Name → whether the processor has it; None: unknown."""

    def line(self) -> str:
        """One line for people."""
        if self.instruction_sets is None:
            return f"{self.name}, {self.cores} cores, instruction sets unknown"
        has = [name for name, there in self.instruction_sets.items() if there]
        lacks = [name for name, there in self.instruction_sets.items() if not there]
        sets = f"with {', '.join(has) or 'none of the instruction sets below'}" + (
            f"; without {', '.join(lacks)}" if lacks else ""
        )
        return f"{self.name}, {self.cores} cores, {sets}"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Processor:
    """The processor of this machine. `cpuinfo`: Linux's file about it."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    values = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    flags = values.get("flags")
    sets = None
    if flags is not None:
        present = set(flags.split())
        sets = {name: flag in present for flag, name in INSTRUCTION_SETS.items()}
    return Processor(values.get("model name") or platform.machine() or "unknown", _cores(), sets)


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS or Windows
        return os.cpu_count() or 1


def onednn_is_on() -> bool | None:
    """Whether this process's TensorFlow uses oneDNN; None: this version does not say."""
    try:
        # TensorFlow has no public function for it.
        port: Any = importlib.import_module("tensorflow.python.util._pywrap_util_port")
        return bool(port.IsMklEnabled())
    except (ImportError, AttributeError):
        return None


def onednn_lines(processor: Processor, on: bool | None, setting: str | None) -> list[str]:
    """Lines for people: whether oneDNN is on, and what to try where it is off.

    `setting`: the value of the environment variable `SWITCH`; None: not set.
    """
    if on is None:
        return ["TensorFlow does not say whether its oneDNN ops are on."]
    if on:
        return ["TensorFlow's oneDNN ops are on."]
    lines = ["TensorFlow's oneDNN ops are off."]
    sets = processor.instruction_sets or {}
    if setting is not None:
        lines.append(f"The environment has {SWITCH}={setting}; without it, TensorFlow decides.")
    elif sets.get("AVX2") or sets.get("AVX-512"):
        lines.append(
            f"It turns them on by itself only for {', '.join(SWITCHING_ON[:-1])} or "
            f"{SWITCHING_ON[-1]}. Run this again with {SWITCH}=1: float32 may be faster with them."
        )
    return lines
