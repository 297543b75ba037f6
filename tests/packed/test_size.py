"""A packed file is little more than the weights in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ebcore.cli import app
from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d
from ebcore.models import resnet
from ebcore.packed import PackedModel, pack
from ebcore.packed.graph import Bits, Graph, Node
from ebcore.packed.size import Weights, node_weights, weights
from ebcore.tables import packed_table


def _two_layers() -> Graph:
    """3 experts of 5 x 1 x 3 x 3 signs, 5 scales and 3 gate weights; 5 PReLU slopes."""
    tensors = {
        "bits": Bits.of_signs(np.ones((3, 5, 1, 3, 3), np.bool_)),
        "scale": np.ones(5, np.float32),
        "gate_weight": np.ones((3, 1), np.float32),
    }
    attrs = {"kernel": 3, "stride": 1, "padding": 0, "groups": 1, "act": 0, "experts": 3}
    conv = Node("binary_conv", "conv", [0], attrs, {name: name for name in tensors})
    prelu = Node("activation", "prelu", [1], {"act": 2}, {"slope": "slope"})
    return Graph((1, 4, 4), [conv, prelu], {**tensors, "slope": np.ones(5, np.float32)})


def test_counts_are_those_of_the_shapes() -> None:
    graph = _two_layers()
    assert node_weights(graph) == [Weights(135, 8), Weights(0, 5)]
    assert weights(graph) == Weights(135, 13)
    assert weights(graph).information == 17 + 52  # 135 bits are 16 bytes and 7 bits


def test_table_says_all_of_it() -> None:
    model = PackedModel(_two_layers())
    table = packed_table(model, "net.ebp")
    columns = [[*column.cells, column.footer] for column in table.columns]
    assert columns[2][:2] == ["5 x 2 x 2", "5 x 2 x 2"]
    assert columns[3][:2] == ["3", ""]
    assert columns[4] == ["135", "0", "135"]
    assert columns[6] == ["49", "20", "69"]
    assert f"{model.nbytes:,} bytes" in str(table.caption) and "(69 bytes:" in str(table.caption)


def test_command_shows_it(tmp_path: Path) -> None:
    PackedModel(_two_layers()).save(tmp_path / "net.ebp")
    result = CliRunner().invoke(app, ["summary", str(tmp_path / "net.ebp")])
    assert result.exit_code == 0
    assert "net.ebp, input 1 x 4 x 4" in result.stdout and "prelu" in result.stdout
    with pytest.raises(InputError, match=r"none\.ebp: cannot be read"):
        CliRunner().invoke(app, ["summary", "none.ebp"], catch_exceptions=False)


@pytest.mark.slow
def test_full_size_file_is_at_most_a_twentieth_more() -> None:
    torch.manual_seed(0)
    model = resnet("1262-2-4:8:8:16", experts=4).eval()
    for module in model.modules():
        if isinstance(module, BinaryConv2d) and module.alpha is not None:
            torch.nn.init.normal_(module.alpha)
    packed = pack(model, (3, 224, 224))
    assert packed.nbytes <= 1.05 * weights(packed.graph).information
