"""Rows of different lengths in one pass of a model without padding, with keys and values that are never copied.

The model sees the tokens of all rows as one sequence, and each token's position. Only attention knows of rows: for the
time of a pass, transformers calls `_attend`. It writes the new keys and values into memory that is reserved for each
row, lets each token attend to its own row, and, in a second part, to the beginning that all rows share, which is kept
once. The parts are joined by the log of the sums that their softmax divides by, as if it had been one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from ftsdk.models.packed_attention import check_attention, replaced_attention

__all__ = ["PackedRows", "SharedPrefix", "shared_prefix", "tokens_in_memory"]

_NAME = "ftsdk_packed_rows"
_KEPT_SHARE = 0.75
"""Memory is compacted when fewer of its rows than this are in use."""


@dataclass(frozen=True, kw_only=True)
class SharedPrefix:
    """Keys and values of a beginning, by layer: 1 x heads x length x size."""

    length: int
    layers: dict[int, tuple[Any, Any]]


@dataclass(kw_only=True)
class _Pass:
    """What attention needs to know of one pass."""

    first: int
    """The first row of the memory that takes part; those up to `first + rows` do."""
    rows: int
    width: int
    """Most tokens of a row in this pass."""
    length: int
    """Most tokens that a row has after this pass."""
    slots: Any
    """Where each token's key and value go: row times capacity, and its place in the row."""
    places: Any
    """Where each token is among rows x width; None: just there."""
    mask: Any
    """rows x 1 x width x length, added to the scores."""
    masks: dict[int, Any] = field(default_factory=dict[int, Any])

    def mask_for(self, groups: int) -> Any:
        """Return the mask where so many heads of queries share keys and lie beside each other."""
        if groups not in self.masks:
            rows, _, width, length = self.mask.shape
            wide = self.mask[:, :, :, None].expand(rows, 1, width, groups, length)
            self.masks[groups] = wide.reshape(rows, 1, width * groups, length)
        return self.masks[groups]


_running: ContextVar[tuple[PackedRows, _Pass] | None] = ContextVar("_running", default=None)


class PackedRows:
    """Rows in flight, and their keys and values."""

    def __init__(self, model: Any, rows: int, capacity: int, prefix: SharedPrefix | None = None) -> None:
        """Reserve memory when the first keys come.

        Args:
            model: In eval mode.
            rows: How many there will be.
            capacity: Most tokens of a row, without the prefix.
            prefix: The beginning of all rows.
        """
        self._model = model
        self._device = model.device
        self._capacity = capacity
        self._prefix = prefix
        self._pass_tokens = _pass_tokens(model)
        self._memory: dict[int, tuple[Any, Any]] = {}
        self._rows = rows
        self._slots = list(range(rows))
        """The row of the memory of each row in flight, in rising order."""
        self._lengths = [0] * rows

    def feed(self, tokens: Sequence[Sequence[int]], wanted: Sequence[int]) -> Any:
        """Feed each row its tokens, at least one, and return the hidden states that are wanted.

        Args:
            tokens: One sequence for each row in flight.
            wanted: After how many of its last tokens a row's states are wanted.

        Returns:
            One state after the other, row by row.
        """
        import torch

        found: list[Any] = []
        start = 0
        while start < len(tokens):
            if len(tokens[start]) > self._pass_tokens:
                found += self._pieces(start, tokens[start], wanted[start])
                start += 1
                continue
            end, count = start, 0
            while end < len(tokens) and count + len(tokens[end]) <= self._pass_tokens:
                count += len(tokens[end])
                end += 1
            found.append(self._pass(start, tokens[start:end], wanted[start:end]))
            start = end
        return torch.cat(found) if len(found) > 1 else found[0]

    def _pieces(self, row: int, tokens: Sequence[int], wanted: int) -> Iterator[Any]:
        for start in range(0, len(tokens), self._pass_tokens):
            piece = tokens[start : start + self._pass_tokens]
            later = len(tokens) - start - len(piece)
            yield self._pass(row, [piece], [min(len(piece), max(0, wanted - later))])

    def forget(self, counts: Sequence[int]) -> None:
        """Forget so many of the last tokens of each row in flight."""
        self._lengths = [length - count for length, count in zip(self._lengths, counts, strict=True)]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows in flight but those at these places, which are in rising order."""
        import torch

        self._slots = [self._slots[place] for place in rows]
        self._lengths = [self._lengths[place] for place in rows]
        if len(self._slots) < _KEPT_SHARE * self._rows:
            index = torch.tensor(self._slots, device=self._device)
            self._memory = {layer: (keys[index], values[index]) for layer, (keys, values) in self._memory.items()}
            self._rows = len(self._slots)
            self._slots = list(range(self._rows))

    def as_prefix(self) -> SharedPrefix:
        """Return the keys and values of the only row."""
        length = self._lengths[0]
        return SharedPrefix(
            length=length,
            layers={
                layer: (keys[:1, :length].transpose(1, 2), values[:1, :length].transpose(1, 2))
                for layer, (keys, values) in self._memory.items()
            },
        )

    def _pass(self, start: int, tokens: Sequence[Sequence[int]], wanted: Sequence[int]) -> Any:
        import torch

        slots = self._slots[start : start + len(tokens)]
        before = self._lengths[start : start + len(tokens)]
        after = [length + len(ids) for length, ids in zip(before, tokens, strict=True)]
        self._lengths[start : start + len(tokens)] = after
        first, rows = slots[0], slots[-1] - slots[0] + 1
        width, length = max(len(ids) for ids in tokens), max(after)
        is_dense = rows == len(slots) and all(len(ids) == width for ids in tokens)
        shift = 0 if self._prefix is None else self._prefix.length
        last = torch.zeros(rows, width, dtype=torch.long)  # the last slot that a token sees
        ids: list[int] = []
        positions: list[int] = []
        targets: list[int] = []
        places: list[int] = []
        states: list[int] = []
        for slot, old, row, count in zip(slots, before, tokens, wanted, strict=True):
            ids += row
            positions += range(shift + old, shift + old + len(row))
            targets += range(slot * self._capacity + old, slot * self._capacity + old + len(row))
            places += range((slot - first) * width, (slot - first) * width + len(row))
            last[slot - first] = torch.arange(old, old + width)
            states += range(len(ids) - count, len(ids))
        seen = torch.arange(length)[None, None, :] <= last[:, :, None]
        mask = torch.zeros(seen.shape, dtype=self._model.dtype).masked_fill_(~seen, -torch.inf)
        now = _Pass(
            first=first,
            rows=rows,
            width=width,
            length=length,
            slots=torch.tensor(targets, device=self._device),
            places=None if is_dense else torch.tensor(places, device=self._device),
            mask=mask[:, None].to(self._device),
        )
        with replaced_attention(self._model, _NAME, _attend):
            token = _running.set((self, now))
            try:
                output = self._model.base_model(
                    input_ids=torch.tensor([ids], device=self._device),
                    position_ids=torch.tensor([positions], device=self._device),
                    use_cache=False,
                )
            finally:
                _running.reset(token)
        return output.last_hidden_state[0, torch.tensor(states, dtype=torch.long, device=self._device)]

    def attend(self, layer: int, now: _Pass, query: Any, key: Any, value: Any, scale: float) -> Any:
        """Return the attention of one layer, 1 x tokens x heads x size; see `_attend` for what is given."""
        heads, count, size = query.shape[1:]
        shared = key.shape[1]
        groups = heads // shared
        keys, values = self._written(layer, now, key, value)
        queries = query[0].transpose(0, 1)
        padded = queries
        if now.places is not None:
            padded = queries.new_zeros(now.rows * now.width, heads, size)
            padded[now.places] = queries
        padded = padded.view(now.rows, now.width, shared, groups, size).permute(0, 2, 1, 3, 4)
        padded = padded.reshape(now.rows, shared, now.width * groups, size)
        own, own_sum = _attention(padded, keys, values, now.mask_for(groups), scale)
        own = own.view(now.rows, shared, now.width, groups, -1).permute(0, 2, 1, 3, 4).reshape(-1, heads, own.shape[-1])
        if now.places is not None:
            own = own[now.places]
        if self._prefix is None:
            return own[None]
        # All tokens against the one prefix, as if they were the tokens of one row.
        folded = queries.reshape(count, shared, groups, size).transpose(0, 1).reshape(1, shared, count * groups, size)
        first, first_sum = _attention(folded, *self._prefix.layers[layer], None, scale)
        first = first.view(shared, count, groups, -1).transpose(0, 1).reshape(count, heads, -1)
        first_sum = first_sum.view(shared, count, groups).transpose(0, 1).reshape(count, heads)
        own_sum = own_sum.view(now.rows, shared, now.width, groups).transpose(1, 2).reshape(-1, heads)
        if now.places is not None:
            own_sum = own_sum[now.places]
        share = (own_sum - first_sum).sigmoid()[..., None]
        return first.float().lerp(own.float(), share).to(query.dtype)[None]

    def _written(self, layer: int, now: _Pass, key: Any, value: Any) -> tuple[Any, Any]:
        """Write what is new, and return what the rows of the pass have: rows x heads x length x size."""
        import torch

        if layer not in self._memory:
            # Zeros: what a mask hides is multiplied by 0 all the same, and there must be a number.
            self._memory[layer] = (
                torch.zeros(self._rows, self._capacity, *key.shape[1::2], dtype=key.dtype, device=key.device),
                torch.zeros(self._rows, self._capacity, *value.shape[1::2], dtype=value.dtype, device=value.device),
            )
        keys, values = self._memory[layer]
        keys.flatten(0, 1).index_copy_(0, now.slots, key[0].transpose(0, 1))
        values.flatten(0, 1).index_copy_(0, now.slots, value[0].transpose(0, 1))
        rows = slice(now.first, now.first + now.rows)
        return keys[rows, : now.length].transpose(1, 2), values[rows, : now.length].transpose(1, 2)


def _pass_tokens(model: Any) -> int:
    """Return the most tokens of one pass.

    More take more memory, and what is computed element by element gets slower when it leaves the processor's caches. In
    32 bits, products of matrices are as fast with 200 rows as with 2,000; in 16 bits they are twice as fast with 2,000.
    """
    import torch

    return 512 if model.device.type == "cpu" and model.dtype == torch.float32 else 2048


def shared_prefix(model: Any, tokens: Sequence[int]) -> SharedPrefix:
    """Return the keys and values of a beginning."""
    rows = PackedRows(model, 1, len(tokens))
    rows.feed([tokens], [0])
    return rows.as_prefix()


def tokens_in_memory(model: Any) -> int:
    """Return how many tokens' keys and values take 1 GiB, within limits: each step reads the weights once."""
    config = model.config.get_text_config(decoder=True)
    heads: int = getattr(config, "num_attention_heads", None) or 1
    size: int = getattr(config, "head_dim", None) or getattr(config, "hidden_size", 0) // heads
    shared: int = getattr(config, "num_key_value_heads", None) or heads
    layers: int = getattr(config, "num_hidden_layers", 0)
    return min(16384, max(2048, 2**30 // max(1, 2 * layers * shared * size * model.dtype.itemsize)))


def _attention(query: Any, keys: Any, values: Any, mask: Any, scale: float) -> tuple[Any, Any]:
    """Return the attention, and the log of the sum that its softmax divides by."""
    import torch

    if query.device.type == "cpu":
        # What torch's own scaled_dot_product_attention calls here; that returns no sums.
        attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return attend(query, keys, values, attn_mask=mask, scale=scale)
    scores = (query @ keys.transpose(-1, -2)).float() * scale
    if mask is not None:
        scores = scores + mask
    return scores.softmax(dim=-1).to(values.dtype) @ values, scores.logsumexp(dim=-1)


def _attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    is_causal: bool | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Any, None]:
    """Compute one layer's attention, in the way in which transformers calls all of its own."""
    del dropout  # only in training
    running, layer = _running.get(), getattr(module, "layer_idx", None)
    check_attention(
        module,
        query,
        key,
        value,
        mask=attention_mask,
        options=options,
        is_possible=running is not None
        and layer is not None
        and is_causal is not False
        and query.shape[3] == key.shape[3],
    )
    assert running is not None
    assert layer is not None
    rows, now = running
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return rows.attend(layer, now, query, key, value, scale), None
