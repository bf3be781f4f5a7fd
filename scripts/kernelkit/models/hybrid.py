"""Linear-attention mixers: gated delta net and Mamba-2."""

from __future__ import annotations

from kernelkit.errors import ConfigError
from kernelkit.models.fields import Fields, Found
from kernelkit.models.spec import GdnSpec, Layer, MambaSpec

_HEADS = ("mamba_num_heads", "mamba_n_heads")
_HEAD_DIM = ("mamba_head_dim", "mamba_d_head")
_STATE = ("ssm_state_size", "mamba_d_state", "mamba_state_dim", "ssm_cfg.d_state", "state_size")
_GROUPS = ("n_groups", "mamba_n_groups", "mamba_num_groups", "ssm_cfg.ngroups")
_CONV = ("conv_kernel", "mamba_d_conv", "ssm_cfg.d_conv")
_STATE_DTYPES = ("float32", "bfloat16", "float16")


def read_gdn(fields: Fields, layers: tuple[Layer, ...]) -> GdnSpec | None:
    """Gated delta net heads and dims; None where no layer has one."""
    if not any(layer.mixer == "gdn" for layer in layers):
        return None
    gdn = GdnSpec(
        num_k_heads=fields.integer("gdn.num_k_heads", "linear_num_key_heads"),
        num_v_heads=fields.integer("gdn.num_v_heads", "linear_num_value_heads"),
        head_k_dim=fields.integer("gdn.head_k_dim", "linear_key_head_dim"),
        head_v_dim=fields.integer("gdn.head_v_dim", "linear_value_head_dim"),
        conv_kernel_dim=fields.integer("gdn.conv_kernel_dim", "linear_conv_kernel_dim"),
    )
    _divides(fields, gdn.num_v_heads, gdn.num_k_heads, "linear_num_value_heads by its key heads")
    return gdn


def read_mamba(fields: Fields, hidden: int, layers: tuple[Layer, ...]) -> MambaSpec | None:
    """Mamba-2 heads and dims; None where no layer has one."""
    if not any("mamba" in layer.mixer.split("+") for layer in layers):
        return None
    heads, head_dim = _heads(fields, hidden)
    groups = fields.integer("mamba.n_groups", *_GROUPS)
    _divides(fields, heads, groups, "Mamba heads by its groups")
    return MambaSpec(
        num_heads=heads,
        head_dim=head_dim,
        state_size=fields.integer("mamba.state_size", *_STATE),
        n_groups=groups,
        conv_kernel_dim=fields.integer("mamba.conv_kernel_dim", *_CONV),
        state_dtype=_state_dtype(fields),
    )


def _heads(fields: Fields, hidden: int) -> tuple[int, int]:
    """Heads and head dim; of the two, one may follow from the inner width."""
    plain = fields.architecture.pattern == "mamba"  # Mamba2ForCausalLM: unprefixed names
    head_names = (*_HEADS, "num_heads") if plain else _HEADS
    dim_names = (*_HEAD_DIM, "ssm_cfg.headdim", "head_dim") if plain else _HEAD_DIM
    heads, head_dim = fields.find(*head_names), fields.find(*dim_names)
    if heads is None and head_dim is not None:
        size = fields.integer("mamba.head_dim", *dim_names)
        inner = _inner(fields, hidden)
        count = _divides(fields, inner.value, size, "the Mamba inner width by its head dim")
        return fields.note("mamba.num_heads", Found(count, f"{inner.source} / head dim")), size
    count = fields.integer("mamba.num_heads", *head_names)
    if head_dim is None or head_dim.value in (None, "auto"):
        inner = _inner(fields, hidden)
        size = _divides(fields, inner.value, count, "the Mamba inner width by its heads")
        return count, fields.note("mamba.head_dim", Found(size, f"{inner.source} / heads"))
    return count, fields.integer("mamba.head_dim", *dim_names)


def _inner(fields: Fields, hidden: int) -> Found[int]:
    """The inner width: mamba_d_ssm, else expand * hidden_size."""
    given = fields.find("mamba_d_ssm")
    if given is not None and given.value is not None:
        return Found(fields.check_integer(given), given.source)
    expand = fields.integer("mamba.head_dim", "mamba_expand", "expand", "ssm_cfg.expand")
    source = f"{fields.sources['mamba.head_dim']} * hidden_size"
    return Found(expand * hidden, source)


def _state_dtype(fields: Fields) -> str:
    """The dtype of the state cache. Without a field: bfloat16, as the published definitions."""
    default = Found("bfloat16", "not in the config: bfloat16 as in the published definitions")
    names = ("mamba_ssm_dtype", "mamba_ssm_cache_dtype")
    dtype = fields.text("mamba.state_dtype", *names, otherwise=default)
    if dtype not in _STATE_DTYPES:
        found = Found(dtype, fields.sources["mamba.state_dtype"])
        raise fields.wrong(found, ", ".join(_STATE_DTYPES))
    return dtype


def _divides(fields: Fields, total: int, part: int, what: str) -> int:
    if total % part:
        raise ConfigError(
            f"{fields.architecture.name}: cannot divide {what}", received=f"{total} by {part}"
        )
    return total // part
