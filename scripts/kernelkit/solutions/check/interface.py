"""Rules of the interface: arguments, results, the entry point, setup."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, at, finding
from kernelkit.solutions.check.syntax import Function, Module, names_in, positional


def entry_point(context: Context) -> Iterator[Finding]:
    """KS110."""
    spec = context.spec
    if spec.entry_file not in context.sources:
        text = f"{spec.entry_file!r} is not among the sources"
        yield Finding("KS110", spec.entry_file, text)
        return
    entry = context.entry
    if entry is None:
        return
    symbol = spec.entry_symbol
    if context.run is not None:
        if _yields(context.run):
            yield finding("KS110", context.home or entry, context.run, f"{symbol} is a generator")
        return
    held = next((n for n in entry.tree.body if getattr(n, "name", "") == symbol), None)
    if isinstance(held, ast.AsyncFunctionDef):
        yield finding("KS110", entry, held, f"{symbol} is a coroutine")
    elif held is None and symbol not in entry.globals and symbol not in entry.imports:
        yield Finding("KS110", entry.path, f"{symbol} is not defined")


def arguments(context: Context) -> Iterator[Finding]:
    """KS101, KS102, KS103, KS104."""
    run, home = context.run, context.home
    if run is None or home is None:
        return
    definition = context.definition
    wanted = [*definition.inputs, *(definition.outputs if context.passing else ())]
    names = positional(run)
    pairs = zip(run.args.kwonlyargs, run.args.kw_defaults, strict=True)
    if needed := [argument.arg for argument, default in pairs if default is None]:
        yield finding("KS104", home, run, f"{', '.join(needed)} can only come by keyword")
    required = len(names) - len(run.args.defaults)
    if required > len(wanted) or (len(names) < len(wanted) and not run.args.vararg):
        yield finding("KS101", home, run, _count_message(context, len(names), len(wanted)))
        return
    names = names[: len(wanted)]
    if names == wanted[: len(names)]:
        return
    inputs = list(definition.inputs)
    given = [name for name in names[: len(inputs)] if name in wanted]
    if given != [name for name in wanted if name in given]:
        text = f"takes {', '.join(names)}; passed are {', '.join(wanted)}"
        yield finding("KS102", home, run, text)
    elif strange := [n for n, w in zip(names, inputs, strict=False) if n != w]:
        yield finding("KS103", home, run, f"unknown names: {', '.join(strange)}")


def _count_message(context: Context, have: int, wanted: int) -> str:
    inputs, outputs = len(context.definition.inputs), len(context.definition.outputs)
    if context.passing:
        text = f"takes {have}, {wanted} are passed: {inputs} inputs and {outputs} outputs"
        if have == inputs:
            return f"{text} (spec.destination_passing_style is true)"
        return text
    text = f"takes {have}, the {wanted} inputs are passed"
    if have == inputs + outputs:
        return f"{text} (spec.destination_passing_style is false)"
    return text


def results(context: Context) -> Iterator[Finding]:
    """KS105, KS106, KS107, KS108, KS109."""
    run, home = context.run, context.home
    if run is None or home is None or _yields(run):
        return
    returns = [event for event in context.events("return") if not _is_none(event.node)]
    if context.passing:
        used = names_in(ast.Module(body=run.body, type_ignores=[]))
        for own in context.stands_for(set(context.definition.outputs)) - used:
            yield finding("KS105", home, run, f"{own} is never used")
        for event in returns[:1]:
            yield at("KS106", event, "the outputs are arguments")
        return
    if not returns:
        yield finding("KS107", home, run, "no return statement gives a value")
    count = len(context.definition.outputs)
    for event in returns:
        if event.value.made == "dict":
            text = "flashinfer-bench 0.1.2 takes a tensor, a tuple or a list"
            yield at("KS109", event, text)
        elif event.value.made == "tuple" and len(event.value.parts) != count:
            yield at("KS108", event, f"returns {len(event.value.parts)}, declared are {count}")


def return_annotation(context: Context) -> Iterator[Finding]:
    """KS119. flashinfer-bench looks at the annotation itself: one kept as text (by `from __future__
    import annotations`, or in quotes) is to it the type of a single output."""
    run, home = context.run, context.home
    if run is None or home is None or run.returns is None or context.passing:
        return
    count, shown = len(context.definition.outputs), ast.unparse(run.returns)
    if _is_text(run.returns, home):
        if count != 1:
            yield finding("KS119", home, run, f"-> {shown} is text to it, of {count} outputs")
    elif shown == "None" or (_parts(run.returns) or 1) != count:
        yield finding("KS119", home, run, f"-> {shown}; declared are {count} outputs")


def _is_text(annotation: ast.expr, home: Module) -> bool:
    later = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in home.tree.body
    )
    return later or (isinstance(annotation, ast.Constant) and isinstance(annotation.value, str))


def _parts(annotation: ast.expr) -> int:
    """Elements of a tuple's annotation; 0 for anything else, a bare tuple too."""
    if not isinstance(annotation, ast.Subscript):
        return 0
    if ast.unparse(annotation.value).rpartition(".")[2].lower() != "tuple":
        return 0
    inner = annotation.slice
    return len(inner.elts) if isinstance(inner, ast.Tuple) else 1


def setup(context: Context) -> Iterator[Finding]:
    """KS115."""
    entry = context.entry
    if entry is None or "setup" not in entry.functions or context.spec.entry_symbol == "setup":
        return
    function = entry.functions["setup"]
    names = [*positional(function), *(a.arg for a in function.args.kwonlyargs)]
    given = {
        name for name, spec in context.definition.inputs.items()
        if spec.shape is None or spec.dtype.value.startswith("int")
    }  # fmt: skip
    for name in names:
        if name not in given:
            text = f"{name} is not among {', '.join(sorted(given)) or 'no such inputs'}"
            yield finding("KS115", entry, function, text)


def reference_order(context: Context) -> Iterator[Finding]:
    """KS117."""
    tree = ast.parse(context.definition.reference)
    run = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "run")
    names, inputs = positional(run), list(context.definition.inputs)
    if sorted(names) == sorted(inputs) and names != inputs:
        text = f"reference: {', '.join(names)}; inputs: {', '.join(inputs)}"
        yield Finding("KS117", context.spec.entry_file, text)


def _yields(function: Function) -> bool:
    return any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in ast.walk(function))


def _is_none(node: ast.AST) -> bool:
    """Whether a return statement gives nothing."""
    value = getattr(node, "value", None)
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


RULES: tuple[Rule, ...] = (entry_point, arguments, results, return_annotation, setup,
                           reference_order)  # fmt: skip
