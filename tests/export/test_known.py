"""What a graph knows without an input is computed once, and stands in the program that was traced."""

import pytest
import torch
from torch import Tensor, nn

from afina.export.known import known_ahead


class Turns(nn.Module):
    """Turns rows by an orthogonal matrix that its weights come to, and has a weight that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.raw, self.shift = nn.Parameter(torch.randn(5, 5)), nn.Parameter(torch.randn(7))
        self.unused, self.marks = nn.Parameter(torch.randn(3)), nn.Buffer(torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]))

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        skew = self.raw - self.raw.T
        turn = torch.matrix_exp(skew)
        return rows @ turn + self.marks.cos(), rows.sum(dim=1, keepdim=True) + self.shift[None, :]


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning")
def test_what_depends_on_no_input_is_computed_once() -> None:
    torch.manual_seed(0)
    module, rows = Turns().eval(), torch.randn(3, 5)
    free = {"rows": {0: torch.export.Dim.DYNAMIC}}
    with torch.no_grad():
        program = torch.export.export(module, (rows,), dynamic_shapes=free, strict=False)
        assert known_ahead(program) == 2, "the turn and the marks' cosines; a view of `shift` is left to the graph"
        program.validate()
        called = {node.target for node in program.graph.nodes if node.op == "call_function"}
        assert not {torch.ops.aten.cos.default, torch.ops.aten.linalg_matrix_exp.default} & called
        assert set(program.state_dict) == {"shift"} and len(program.constants) == 2

        # As it was traced, and as the exporters read it: taken apart into plainer operations.
        for told in (program, program.run_decompositions()):
            for given in (rows, torch.randn(8, 5)):
                torch.testing.assert_close(told.module()(given), module(given))
    assert set(module.state_dict()) == {"raw", "shift", "unused", "marks"}, "the module itself is as it was"
