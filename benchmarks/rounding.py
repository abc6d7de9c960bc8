"""Evaluates a function as an accelerator would that rounds the operands of matrix products.

A product that asks for no precision is computed in TF32 on a recent GPU and in bfloat16 on a TPU.
`rounded` walks through the operations of a function (its jaxpr) and rounds the operands of every
such product, so that a CPU shows what it does to the result.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend import core

KINDS = ("tf32", "bfloat16")
_EXACT = jax.lax.Precision.HIGHEST


def round_operand(x: Array, kind: str) -> Array:
    """Returns float32 numbers rounded to TF32 (10 bits behind the leading one) or bfloat16 (7)."""
    if x.dtype != jnp.float32:
        return x
    if kind == "bfloat16":
        return x.astype(jnp.bfloat16).astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    rounded = (bits + jnp.uint32(0xFFF) + ((bits >> 13) & 1)) & jnp.uint32(0xFFFFE000)
    return jnp.where(jnp.isfinite(x), jax.lax.bitcast_convert_type(rounded, jnp.float32), x)


def rounded(function: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """Returns a function with the operands of all products rounded that are not marked `HIGHEST`.

    Args:
      function: of arrays, or pytrees of them, of one structure: `vmap` goes outside.
      kind: one of `KINDS`.
    """

    def run(*arguments: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        leaves = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(arguments), kind)
        return jax.tree.unflatten(jax.tree.structure(shape), leaves)

    return run


def is_exact(product: Any) -> bool:
    """Returns whether a `dot_general` asks for full precision for both operands."""
    precision = product.params["precision"]
    return precision == _EXACT or precision == (_EXACT, _EXACT)


def _evaluate(jaxpr: Any, consts: Any, arguments: Any, kind: str) -> list[Array]:
    values: dict[Any, Any] = {}

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    values.update(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))
    for equation in jaxpr.eqns:
        results = _apply(equation, [read(atom) for atom in equation.invars], kind)
        values.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: Any, arguments: list[Any], kind: str) -> list[Array]:
    """Returns the results of one operation, those inside of it rounded too."""
    name, params = equation.primitive.name, equation.params
    if name == "dot_general" and not is_exact(equation):
        arguments = [round_operand(x, kind) for x in arguments]
    if name == "scan":
        return _scan(params, arguments, kind)
    if name == "while":
        return _while(params, arguments, kind)
    if name == "cond":
        branches = [_function(branch, kind) for branch in params["branches"]]
        return list(jax.lax.switch(arguments[0], branches, *arguments[1:]))
    # Whatever wraps a function that takes the same arguments: jit, a checkpoint, a derivative of one's own.
    for inner in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if inner in params and name not in _NOT_A_CALL:
            return _function(params[inner], kind)(*arguments)
    results = equation.primitive.bind(*arguments, **params)
    return list(results) if equation.primitive.multiple_results else [results]


#: Operations with a jaxpr among their parameters that is no function of their arguments.
_NOT_A_CALL = ("reduce", "scatter", "scatter-add", "reduce_window", "sort")


def _function(inner: Any, kind: str) -> Callable[..., list[Array]]:
    """Returns the function of a jaxpr, closed or without constants."""
    jaxpr, consts = getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())
    return lambda *arguments: _evaluate(jaxpr, consts, arguments, kind)


def _scan(params: dict[str, Any], arguments: list[Any], kind: str) -> list[Array]:
    if "ft_in" in params:  # jax 0.12: trees of the constants, what is carried, and the rows
        consts, carried = (len(part.vals) for part in params["ft_in"].unpack()[:2])
    else:
        consts, carried = params["num_consts"], params["num_carry"]
    body = _function(params["jaxpr"], kind)

    def step(carry: list[Array], row: list[Array]) -> tuple[list[Array], list[Array]]:
        results = body(*arguments[:consts], *carry, *row)
        return results[:carried], results[carried:]

    first, rows = arguments[consts : consts + carried], arguments[consts + carried :]
    carry, stacked = jax.lax.scan(step, first, rows, length=params["length"], reverse=params["reverse"])
    return [*carry, *stacked]


def _while(params: dict[str, Any], arguments: list[Any], kind: str) -> list[Array]:
    cond_consts, body_consts = params["cond_nconsts"], params["body_nconsts"]
    cond, body = (_function(params[name], kind) for name in ("cond_jaxpr", "body_jaxpr"))
    of_cond, of_body = arguments[:cond_consts], arguments[cond_consts : cond_consts + body_consts]
    return jax.lax.while_loop(
        lambda carry: cond(*of_cond, *carry)[0],
        lambda carry: body(*of_body, *carry),
        arguments[cond_consts + body_consts :],
    )
