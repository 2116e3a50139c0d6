"""Where and in which precision the network runs."""

from __future__ import annotations

import torch

from dacapo_hd.errors import UserError


def choose_device(wanted: str = "auto") -> torch.device:
    """Resolve `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; raises UserError for a device that this machine lacks."""
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UserError(f"trainer.device: unknown device {wanted!r}; give auto, cpu, cuda, cuda:N or mps") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise UserError(f"trainer.device: {wanted!r} asked for, but torch sees {found} CUDA devices; give auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("trainer.device: 'mps' asked for, but torch does not see it here; give auto or cpu")
    return device


def use_bfloat16(precision: str, device: torch.device) -> bool:
    """Tell whether to autocast to bfloat16: when asked for, and under `auto` on a CUDA device that has it."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bfloat16"


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context in which a network is trained."""
    dtype = torch.float16 if precision == "float16" else torch.bfloat16
    enabled = precision == "float16" or use_bfloat16(precision, device)
    return torch.autocast(device.type, dtype, enabled=enabled)


def make_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Make what keeps float16 gradients from vanishing; with every other precision it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")


def settle_threads() -> None:
    """Let numba start its threads now, and torch keep its number of them.

    Both use one OpenMP library. Started later, by the first parallel kernel of a validation, numba's threads would
    change the number of torch's, and with it the last digits of what an undisturbed training computes from then on.
    """
    import numba

    threads = torch.get_num_threads()
    numba.get_num_threads()
    torch.set_num_threads(threads)
