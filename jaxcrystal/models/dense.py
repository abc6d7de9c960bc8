"""A dense layer whose weight gradient is summed structure by structure."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

#: What the products of layers are computed in. Sums are float32 in all of them, and so is everything
#: on a CPU but bfloat16: tf32 is for accelerators, a third of the time on a GPU.
PRECISIONS = ("float32", "tf32", "bfloat16")


def weight_dtype(x: Array) -> jnp.dtype:
    """Returns the type of the weights that act on `x`: float32 for bfloat16, else its own."""
    return jnp.dtype(jnp.float32) if x.dtype == jnp.bfloat16 else x.dtype


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def matmul(a: Array, b: Array, precision: str = "float32") -> Array:
    """Returns a @ b in the type of `a`; sums of bfloat16 products are float32, of the gradients too.

    Args:
      a: matrix, or stack of them.
      b: the same kind, and as many.
      precision: of `PRECISIONS`; bfloat16 is a matter of the type of `a`.
    """
    return _sum_of_products(a, b.astype(a.dtype), precision).astype(a.dtype)


def _matmul_forward(a: Array, b: Array, precision: str) -> tuple[Array, tuple[Array, Array]]:
    return matmul(a, b, precision), (a, b)


def _matmul_backward(precision: str, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    a, b = saved
    of_b = _sum_of_products(jnp.swapaxes(a, -1, -2), gradient, precision).astype(b.dtype)
    return matmul(gradient, jnp.swapaxes(b, -1, -2), precision), of_b


def _sum_of_products(a: Array, b: Array, precision: str) -> Array:
    # HIGH is TF32 on a GPU, three products of bfloat16 parts on a TPU, float32 on a CPU.
    how = jax.lax.Precision.HIGH if precision == "tf32" else jax.lax.Precision.HIGHEST
    return jnp.matmul(a, b, precision=how, preferred_element_type=weight_dtype(a))


# Under vmap the rule runs once for each structure, so that a weight's gradient is a batch
# of products with a short reduction followed by a sum, not one product with a reduction
# over every edge of the batch.
matmul.defvjp(_matmul_forward, _matmul_backward)


class Dense(nn.Module):
    """x @ kernel + bias on [rows, features], in the type of x.

    Attributes:
      features: output width.
      use_bias: add a bias, zero at first.
      zero_init: start from a zero kernel (output layers).
      precision: of the product, see `PRECISIONS`.
    """

    features: int
    use_bias: bool = True
    zero_init: bool = False
    precision: str = "float32"

    @nn.compact
    def weights(self, width: int, dtype: jnp.dtype) -> tuple[Array, Array | None]:
        """Returns kernel and bias for inputs of a width, for a product that several layers share."""
        init = nn.initializers.zeros if self.zero_init else nn.initializers.glorot_uniform()
        kernel = self.param("kernel", init, (width, self.features), dtype)
        if not self.use_bias:
            return kernel, None
        return kernel, self.param("bias", nn.initializers.zeros, (self.features,), dtype)

    def __call__(self, x: Float[Array, "*rows width"]) -> Float[Array, "*rows features"]:
        """Returns x @ kernel + bias."""
        kernel, bias = self.weights(x.shape[-1], weight_dtype(x))
        y = matmul(x.reshape(-1, x.shape[-1]), kernel, self.precision)
        y = y.reshape(*x.shape[:-1], self.features)
        return jnp.asarray(y if bias is None else y + bias.astype(x.dtype))
