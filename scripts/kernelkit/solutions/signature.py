"""The entry function's head, written from a definition: annotated arguments, shapes and dtypes."""

from __future__ import annotations

import ast
import io
import textwrap
import tokenize

from kernelkit.dataset.definition import AxisConst, Definition, TensorSpec
from kernelkit.errors import FormatError

WIDTH = 96


def with_head(
    text: str,
    definition: Definition,
    *,
    symbol: str = "run",
    destinations: bool = False,
    reorder: bool = False,
) -> str:
    """`text` with the head and docstring of its function `symbol` made from the definition.

    The function must take the inputs (and the outputs, as `destinations`) under their names in
    their order; `reorder` allows another order. Raises FormatError where it does not.
    """
    tree = ast.parse(text)
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == symbol]
    if not found:
        raise FormatError(f"no top-level function {symbol!r}", received=definition.name)
    function = found[-1]
    wanted = [*definition.inputs, *(definition.outputs if destinations else ())]
    more = _check_names(function, wanted, definition, reorder)
    lines = list(io.StringIO(text, newline=""))  # as the parser counts lines
    body_at, inline, indent = _body(lines, function)
    head = _head(definition, symbol, destinations, more)
    doc = textwrap.indent(docstring(definition), indent, lambda line: bool(line.strip()))
    return "".join([*lines[: function.lineno - 1], head, doc, inline, *lines[body_at:]])


def docstring(definition: Definition) -> str:
    """The description, and one entry for each input and output: shape, dtype, description."""
    blocks = [_wrapped(definition.description or definition.name)]
    for title, tensors in (("Inputs", definition.inputs), ("Outputs", definition.outputs)):
        rows = [_row(definition, name, spec) for name, spec in tensors.items()]
        blocks.append("\n".join([f"{title}:", *rows]))
    safe = "\n\n".join(blocks).replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{safe}\n"""\n'


def _row(definition: Definition, name: str, spec: TensorSpec) -> str:
    shape = "scalar"
    if spec.shape is not None:
        shape = f"[{', '.join(_axis(definition, axis) for axis in spec.shape)}]"
    optional = ", may be None" if spec.optional else ""
    text = f"{name}: {shape} {spec.dtype.value}{optional}. {spec.description or ''}".rstrip()
    return _wrapped(text, "    ")


def _axis(definition: Definition, name: str) -> str:
    axis = definition.axes[name]
    return f"{name}={axis.value}" if isinstance(axis, AxisConst) else name


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        " ".join(text.split()), WIDTH - 4, initial_indent=indent,
        subsequent_indent=indent + "    " if indent else "", break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip


def _head(definition: Definition, symbol: str, destinations: bool, more: list[str]) -> str:
    specs = {**definition.inputs, **(definition.outputs if destinations else {})}
    arguments = [f"    {name}: {_annotation(spec)},\n" for name, spec in specs.items()]
    arguments += [f"    {text},\n" for text in more]
    count = len(definition.outputs)
    result = "torch.Tensor" if count == 1 else f"tuple[{', '.join(['torch.Tensor'] * count)}]"
    return f"def {symbol}(\n{''.join(arguments)}) -> {'None' if destinations else result}:\n"


def _annotation(spec: TensorSpec) -> str:
    kind = "torch.Tensor"
    if spec.shape is None:
        dtype = spec.dtype.value
        kind = "bool" if dtype == "bool" else "int" if dtype.startswith("int") else "float"
    return f"{kind} | None" if spec.optional else kind


def _check_names(
    function: ast.FunctionDef, wanted: list[str], definition: Definition, reorder: bool
) -> list[str]:
    """Further arguments, which must have a default, as text. Raises FormatError."""
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args]
    names = [argument.arg for argument in plain]
    first = names[: len(wanted)]
    same = sorted(first) == sorted(wanted) if reorder else first == wanted
    with_default = len(plain) - len(arguments.defaults)
    if not same or arguments.vararg or arguments.kwarg or len(wanted) < with_default:
        raise FormatError(
            f"{definition.name}: {function.name} has other arguments than the definition",
            received=", ".join(names), allowed=", ".join(wanted),
        )  # fmt: skip
    defaults = dict(zip(reversed(names), reversed(arguments.defaults), strict=False))
    return [f"{name}={ast.unparse(defaults[name])}" for name in names[len(wanted) :]]


def _body(lines: list[str], function: ast.FunctionDef) -> tuple[int, str, str]:
    """The line (from 0) behind the old head and docstring, text that stood on the head's line, and
    the body's indent."""
    row, column = _colon(lines, function.lineno)
    first = function.body[0]
    if first.lineno == row:  # def run(x): return x
        return row, f"    {lines[row - 1][column + 1 :].strip()}\n", "    "
    indent = lines[first.lineno - 1][: first.col_offset]
    if ast.get_docstring(function, clean=False) is not None:
        row = first.end_lineno or row
    return row, "", indent


def _colon(lines: list[str], first: int) -> tuple[int, int]:
    """Row (from 1) and column of the colon that ends the head that starts at row `first`."""
    depth = 0
    for token in tokenize.generate_tokens(iter(lines[first - 1 :]).__next__):
        if token.exact_type == tokenize.COLON and depth == 0:
            break
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
    return first - 1 + token.start[0], token.start[1]
