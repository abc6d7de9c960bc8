"""A dense layer whose weight gradient is summed structure by structure."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


@jax.custom_vjp
def _product(x: Array, weight: Array) -> Array:
    return x @ weight


def _product_forward(x: Array, weight: Array) -> tuple[Array, tuple[Array, Array]]:
    return x @ weight, (x, weight)


def _product_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, weight = saved
    return gradient @ weight.T, x.T @ gradient


# Under vmap the rule runs once for each structure, so that the weight gradient is a batch
# of products with a short reduction followed by a sum, not one product with a reduction
# over every edge of the batch.
_product.defvjp(_product_forward, _product_backward)


class Dense(nn.Module):
    """x @ kernel + bias on [rows, features].

    Attributes:
      features: output width.
      use_bias: add a bias, zero at first.
      zero_init: start from a zero kernel (output layers).
    """

    features: int
    use_bias: bool = True
    zero_init: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "*rows width"]) -> Float[Array, "*rows features"]:
        """Returns x @ kernel + bias."""
        init = nn.initializers.zeros if self.zero_init else nn.initializers.glorot_uniform()
        kernel = self.param("kernel", init, (x.shape[-1], self.features), x.dtype)
        y = _product(x.reshape(-1, x.shape[-1]), kernel).reshape(*x.shape[:-1], self.features)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,), x.dtype)
        return jnp.asarray(y)
