"""Makes the one-place mutants of a module's source."""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
# Of definitions; the `args` of a call are mutated.
_NO_BEHAVIOUR = ("annotation", "returns", "decorator_list", "type_params", "args", "bases")


# Tests of `if` and `while` that no change of an expression turns over.
_BARE_TESTS = (ast.Name, ast.Attribute, ast.Call, ast.Await)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module's source with one change; `name` says where and what, without line numbers."""

    name: str
    source: str


def mutants_of(source: str) -> Iterator[Mutant]:
    """Every one-place mutant, in the order of the source."""
    tree = ast.parse(source)
    names: Counter[str] = Counter()
    for owner, holder, field, index, node in _places(tree):
        for changed in _changes(node):
            what = f"{owner}: {_text(node)} -> {_text(changed)}"
            names[what] += 1
            name = what if names[what] == 1 else f"{what} ({names[what]})"
            with _Replaced(holder, field, index, changed):
                yield Mutant(name, ast.unparse(tree))


class _Replaced:
    """Puts another node into its place while the context lasts."""

    def __init__(self, holder: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
        self._holder, self._field, self._index = holder, field, index
        self._node = node

    def __enter__(self) -> None:
        self._swap()

    def __exit__(self, *_: object) -> None:
        self._swap()

    def _swap(self) -> None:
        value: object = getattr(self._holder, self._field)
        if isinstance(value, list) and self._index is not None:
            value[self._index], self._node = self._node, value[self._index]
        else:
            setattr(self._holder, self._field, self._node)
            assert isinstance(value, ast.AST)
            self._node = value


_Place = tuple[str, ast.AST, str, int | None, ast.AST]


def _places(node: ast.AST, owner: str = "module") -> Iterator[_Place]:
    """Each node below, with the function or class that owns it and its place in its parent."""
    for field, value in ast.iter_fields(node):
        if field in _NO_BEHAVIOUR and not isinstance(node, ast.Call):
            continue
        children = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if isinstance(child, ast.AST):
                inner = owner
                if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    inner = child.name if owner == "module" else f"{owner}.{child.name}"
                yield inner, node, field, index, child
                yield from _places(child, inner)


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.stmt):
        yield from _changed_statements(node)
    else:
        yield from _changed_expressions(node)


def _changed_expressions(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _FLIPPED:
            yield ast.Compare(node.left, [_FLIPPED[type(operator)]()], node.comparators)
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield ast.BoolOp(other, node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.BinOp() if type(node.op) in _OPERATORS:
            yield ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as number):
            yield ast.Constant(number + 1)
        case _:
            pass


def _changed_statements(node: ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Delete():
            yield ast.Pass()
        case ast.Break() | ast.Continue():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.If() | ast.While() if isinstance(node.test, _BARE_TESTS):
            yield type(node)(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case _:
            pass


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.If | ast.While):
        return f"{type(node).__name__.lower()} {ast.unparse(node.test)}"
    return " ".join(ast.unparse(ast.fix_missing_locations(node)).split())
