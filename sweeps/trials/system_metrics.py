"""How busy a worker and its machine are, under the names that MLflow's pages know."""

from __future__ import annotations

from importlib.util import find_spec

import psutil
import torch

_MEGABYTE = 1e6


class SystemMetrics:
    """Reads the load between one reading and the next.

    Args:
        on_gpu: whether the worker trains on a GPU.
    """

    def __init__(self, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        # torch reads a GPU's utilisation through this package alone.
        self._utilization = on_gpu and find_spec("pynvml") is not None
        self._process = psutil.Process()
        self.read()

    def read(self) -> dict[str, float]:
        """Return the metrics since the last reading, `system/…`.

        Of the machine: percent of all cores, of memory and, where there is one, of the GPU and of
        its memory. Of the worker's process: percent of one core, and megabytes.
        """
        metrics = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_percentage": psutil.virtual_memory().percent,
            "system/process_cpu_percentage": self._process.cpu_percent(),
            "system/process_memory_megabytes": self._process.memory_info().rss / _MEGABYTE,
        }
        if self._on_gpu:
            free, total = torch.cuda.mem_get_info()
            metrics["system/gpu_0_memory_usage_megabytes"] = (total - free) / _MEGABYTE
            metrics["system/gpu_0_memory_usage_percentage"] = 100 * (total - free) / total
        if self._utilization:
            metrics["system/gpu_0_utilization_percentage"] = float(torch.cuda.utilization())
        return metrics
