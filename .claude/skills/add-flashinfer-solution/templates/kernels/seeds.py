"""Seeds for kernels that draw."""

import torch

GOLDEN = 0x9E3779B97F4A7C15
LEAST_SEED = 1 << 61  # a kernel is compiled anew for a number that fits 32 bits


def fresh_seed(device: torch.device) -> int:
    """A number that differs from call to call, from torch's generator, without a launch."""
    if device.type != "cuda":
        return LEAST_SEED + int(torch.randint(LEAST_SEED, ()))
    index = device.index if device.index is not None else torch.cuda.current_device()
    generator = torch.cuda.default_generators[index]
    offset = generator.get_offset()
    generator.set_offset(offset + 4)
    return LEAST_SEED + (generator.initial_seed() + (offset + 1) * GOLDEN) % LEAST_SEED
