"""Plant one fault at a time in a copy of the source, and show that the tests of it fail.

    python tests/mutations.py            # all of them: about five minutes
    python tests/mutations.py lora holm  # those whose names have one of these words

Each fault is one a hurried hand could make: a sign, a factor, a mask that is forgotten. The tests that have to fail are
those that `make test` runs, on the covering set of pairs (`helpers/pairs.py`). A fault that survives means that a test is
missing; one whose text is not found any more has to be written anew here, beside the change that moved it.

torch and transformers are imported once, and every fault is tried in a fork of that process.
"""

import contextlib
import io
import os
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())


QUIET = ("--no-header", "-W", "ignore::pytest.PytestAssertRewriteWarning")
"""pytest wants to have been there first: some of what it would rewrite is imported with transformers."""


@dataclass(frozen=True)
class Fault:
    """One piece of text in a file of the source, what a hurried hand would have written, and the tests that must fail."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str
    """Words of the tests' file and, after a space, pytest's `-k`."""


FAULTS = (
    # -- every method's formula --
    Fault("lora: scale", "low_rank.py", "y, a, b, self.scale)", "y, a, b, 1.0)",
          "test_peft peft_loads_what_we_save and lora"),
    Fault("lora: fold", "low_rank.py", "weight + self.scale * (b @ a)", "weight + (b @ a)", "test_methods merged and lora"),
    Fault("qlora: base", "qlora.py", "quantised = True", "quantised = False", "test_quantised qlora_alone"),
    Fault("dora: norm", "dora.py", "self.scale**2 * update", "self.scale * update",
          "test_peft peft_loads_what_we_save and dora"),
    Fault("adalora: sign", "adalora.py", "return self.q * self.l, self.p", "return self.q * self.l.abs(), self.p",
          "test_peft peft_loads_what_we_save and adalora"),
    Fault("adalora: budget", "ranks.py", "left**3", "left**2", "test_peft gives_up_ranks"),
    Fault("ia3: scale", "ia3.py", "return y * self.scale[:, 0].to(y.dtype)",
          "return y * self.scale[:, 0].to(y.dtype).square()", "test_methods merged and ia3"),
    Fault("bitfit: sign", "bitfit.py", "return y + self.bias.to(y.dtype)", "return y - self.bias.to(y.dtype)",
          "test_methods merged and bitfit"),
    Fault("norms: offset", "norms.py", "(exact * (self.offset + self.weight.float()))", "(exact * self.weight.float())",
          "test_methods nothing_changes and norms"),
    Fault("vera: scale", "vera.py", "self.d[:, None] * shared.a", "self.d[:, None].abs() * shared.a", "test_vera vera"),
    Fault("svd: bias", "svd.py", "None if self._bias is None else self._bias.to(y.dtype)", "None",
          "test_methods merged and svd"),
    Fault("prompt: vectors", "prompt.py", "        return self.embedding\n", "        return self.embedding * 2\n",
          "test_peft_files prompts_of_peft"),
    Fault("ptuning: layers", "ptuning.py", "*layers[:-1]", "*layers", "test_peft vectors_of_ptuning"),
    Fault("prefix: values", "prefix.py", "torch.cat([own_value, value], dim=2)", "torch.cat([value, own_value], dim=2)",
          "test_peft_files prefixes_of_peft"),
    Fault("prefix: masks of truths", "prefix.py", "mask.new_ones if mask.dtype == torch.bool else mask.new_zeros",
          "mask.new_zeros", "test_masks truths and prefix"),
    Fault("llama-adapter: scaling", "llama_adapter.py", "Scoring(self._scaling)", "Scoring(1.0)",
          "test_peft gated_prompts"),
    Fault("houlsby: sign", "bottleneck.py", "        return y + change\n", "        return y - change\n",
          "test_adapters_library houlsby"),
    Fault("pfeiffer: norm", "bottleneck.py", "self.network(self._normed(x))", "self.network(x)",
          "test_adapters_library pfeiffer"),
    Fault("parallel: scale", "bottleneck.py", "return y + self.scale * result", "return y + result",
          "test_adapters_library parallel"),
    Fault("loreft: rotation", "loreft.py", "(self.weight - rotation)", "(self.weight + rotation)",
          "test_methods nothing_changes and loreft"),
    Fault("full: layers' rates", "full.py", "else len(layers) + 1 if above is None", "else 0 if above is None",
          "test_methods rates_differ_by_layer"),
    # -- exports, which then are not what was tested --
    Fault("export: merge", "graph.py", "stack.enter_context(Merged(loaded.backbone, loaded.adapter))", "pass",
          "test_onnx looked_at_again"),
    Fault("export: template", "model.py", 'settings["tokenizer.chat_template"] = facts.template', "pass",
          "test_gguf_export exported_file and llama"),
    Fault("export: halves of heads", "gguf_tensors.py", "value = halves.transpose(1, 2).reshape(value.shape)",
          "value = halves.reshape(value.shape)", "test_gguf_export exported_file and llama"),
    Fault("export: splits", "vocabulary.py", 'says | {"pre": name}', 'says | {"pre": "gpt-2"}',
          "test_gguf_export exported_file and llama"),
    Fault("export: positions", "settings.py", 'float(_whole_rope(config)["rope_theta"])',
          '2 * float(_whole_rope(config)["rope_theta"])', "test_gguf_export exported_file and llama"),
    # -- masks and places --
    Fault("mask: prompts", "given.py", 'given["attention_mask"] = mask\n', "pass\n",
          "test_methods padding and prompt"),
    Fault("mask: loreft", "loreft.py", "text.cumsum(dim=1)", "torch.ones_like(text).cumsum(dim=1)",
          "test_methods padding and loreft"),
    Fault("mask: T5's bias", "function.py", "bias.masked_fill(~mask, ", "bias.masked_fill(~mask & False, ",
          "test_methods padding and t5 and lora"),
    # -- losses and their weights --
    Fault("loss: class weights", "classification.py", "weight=by_class, ", "weight=None, ",
          "test_methods weighted_and_smoothed"),
    Fault("loss: smoothing", "classification.py", "label_smoothing=self.smoothing", "label_smoothing=0.0",
          "test_methods weighted_and_smoothed"),
    Fault("loss: micro-batches", "loop.py", "return value / of", "return value / max(1, len(labels))",
          "test_loop micro_batches"),
    Fault("loss: penalty", "loop.py", "penalty.backward()", "(penalty * 0).backward()", "test_loop penalty"),
    Fault("distil: the rest", "soft_targets.py", "rest * others)", "0 * others)", "test_distil definition"),
    Fault("distil: temperature", "soft_targets.py", "return temperature**2 * kl_div(", "return temperature * kl_div(",
          "test_distil transformers_example"),
    Fault("distil: packed rows", "batching.py", "np.lexsort((placed.start[part], placed.at[part]))",
          "np.arange(len(sequences))", "test_distil packed and llama"),
    Fault("distil: labels' order", "answerer.py", "outputs[..., list(self.order)]", "outputs", "test_distil as_the_task_has"),
    Fault("compare: pairs", "beside.py", "drawn - drawn[0]", "drawn - drawn[0].mean()", "test_beside paired"),
    Fault("decay: vectors", "optimiser.py", "weight_decay if decays else 0.0", "weight_decay", "test_loop decay"),
    Fault("dropout: mean", "dropout.py", "factor = torch.tensor(1 / (1 - probability), dtype=dtype)",
          "factor = torch.tensor(1.0, dtype=dtype)", "test_ops dropout"),
    # -- statistics --
    Fault("statistics: holm", "statistics.py", "(len(p_values) - place) * p_values[index]", "len(p_values) * p_values[index]",
          "test_statistics holm"),
    Fault("statistics: deviation", "statistics.py", "numbers.std(ddof=1)", "numbers.std()",
          "test_statistics intervals_are_students"),
    Fault("metrics: macro F1", "classes.py", "occurring = (actual + predicted) > 0", "occurring = actual > 0",
          "test_measure classification"),
    Fault("metrics: entities", "entities.py", "len(mine & theirs), len(mine), len(theirs)",
          "len(mine & theirs), len(theirs), len(mine)", "test_tagging metrics_are_those_of_seqeval"),
    # -- resume --
    Fault("resume: moments", "running.py",
          "self.member.optimiser.load_state(groups[\"optimiser\"], self.member.position.step)", "pass",
          "test_study killed_and_resumed and adalora"),
    Fault("resume: ranks", "running.py", "self.member.schedule.load_state(groups[\"schedule\"])", "pass",
          "test_study killed_and_resumed and adalora"),
    Fault("resume: dropout", "dropout.py", "            pool.used = used\n            self._pools[probability",
          "            self._pools[probability", "test_ops dropout"),
    # -- smaller models and fewer bits --
    Fault("compress: angle", "drop_layers.py", "start = min(range(first", "start = max(range(first",
          "test_compress turns_its_input_least"),
    Fault("compress: neurons", "neurons.py", "importance.topk(keep)", "(-importance).topk(keep)",
          "test_compress nothing_reaches"),
    Fault("compress: inputs", "rank.py", "torch.linalg.cholesky(damped)", "torch.eye(len(damped), dtype=damped.dtype)",
          "test_compress a_rank_is_nearest"),
    Fault("compress: zeros", "zeros.py", "dim=1, largest=False)", "dim=1, largest=True)", "test_compress baselines"),
    Fault("quantise: passed on", "rounding.py", "left[:, stop:] -= lost", "left[:, stop:] += lost",
          "test_quantise is_the_papers"),
    Fault("quantise: order", "rounding.py", "torch.argsort(order)", "torch.arange(len(order))",
          "test_quantise order_of_activity"),
    Fault("quantise: version 1's zeros", "rtn.py", "return 1 if settings.symmetric else 0", "return 0",
          "test_quantise format_says"),
    Fault("bits: begun in one word", "bits.py", "if low < bits:", "if False:", "test_coded come_back"),
    # -- optimisers --
    Fault("galore: scale", "galore.py", "self.kind.scale * (projection", "2 * self.kind.scale * (projection",
          "test_optimisers galore_in_all"),
    Fault("apollo: size", "apollo.py", "math.sqrt(rows / rank)", "math.sqrt(rank / rows)", "test_optimisers apollo_makes_up"),
    Fault("badam: turns", "blocks.py", "start = (turn % turns) * self.together", "start = 0",
          "test_optimisers take_turns"),
    Fault("muon: what AdamW has", "muon.py", "return [muon, *adamw(others, rate)]", "return [muon]",
          "test_optimisers muon_has"),
    # -- what a server answers, and to whom --
    Fault("serve: old weights", "serve/adapters.py", "place.current is None or place.current.stamp != place.stamp",
          "place.current is None", "test_server noticed"),
    Fault("serve: another's adapter", "keys.py", "return self.adapters is None or model in self.adapters", "return True",
          "test_server keys_see"),
    Fault("serve: another's row", "passes.py", "in zip(order, each, strict=True)", "in enumerate(each)",
          "test_encoders share_a_pass"),
    Fault("serve: a row that stays", "serve/http/writing.py", "call.ends.callback(call.replies[-1].cancel)", "pass",
          "test_completions goes_away"),
    Fault("serve: a version that stays", "serve/http/call.py", "self.ends.callback(self.house.shelf.give_back, version)",
          "pass", "test_server leave_memory"),
    Fault("serve: the base for an unknown name", "serve/http/call.py", "if name == self.house.bases.name:",
          "if name not in self.house.shelf.names():", "test_server refused_in_openais_form"),
    # -- rows that are written at one time --
    Fault("writing: joins at the end", "kept.py", "start = 0 if behind else width - part.shape[2]", "start = 0",
          "test_batch random and llama"),
    Fault("writing: order of rows", "incremental.py", "torch.cat([self._positions, other._positions])[order]",
          "torch.cat([self._positions, other._positions])", "test_batch random and llama"),
    Fault("writing: pieces", "incremental.py", "(0, more), value=1)", "(0, more), value=0)", "test_batch virtual_tokens"),
    Fault("writing: decoder's places", "places.py", "settings | {\"position_ids\": places}",
          "settings | {\"position_ids\": places.max().expand_as(places)}", "test_batch random and bart"),
    Fault("writing: rows spread", "ways.py", "[start + min(row, count - 1) for", "[start for", "test_batch unlike_many"),
    Fault("writing: own numbers", "sampling.py", "[row.draws for row in here]", "[here[0].draws for row in here]",
          "test_batch random and llama"),
    Fault("engine: lets go", "engine.py", "self._batch.release([adapter])", "pass", "test_engine unloading"),
    Fault("engine: memory", "engine.py", "if self._replies and self.memory", "if not self._replies and self.memory",
          "test_engine does_not_fit"),
    Fault("engine: cancels", "engine.py", "if reply.cancelled]", "if False]", "test_engine cancels_leaves"),
    # -- watching after release --
    Fault("watch: rate", "timeline.py", "return self.false_alarms / self.over", "return self.false_alarms",
          "test_timeline without_drift"),
    Fault("watch: discrepancy", "two_samples.py", "- within - 2 * beside", "- within - beside", "test_two_samples plain_one"),
    Fault("watch: season", "timeline.py", "        if not judged.alarms:\n", "        if judged.alarms:\n",
          "test_timeline rhythm"),
    Fault("watch: other adapter", "reference.py", "if reference.adapter != mark_of(folder):", "if not reference.adapter:",
          "test_watch of_one_adapter"),
    Fault("watch: late labels", "looking.py", 'row.label if row.label is not None else self.labels.get(row.id or "")',
          "row.label", "test_watch late_labels"),
)  # fmt: skip


def place_of(fault: Fault, source: Path = ROOT / "src") -> Path | None:
    """Return the file of the source in which a fault's text stands, if it stands in one, once."""
    found = [path for path in source.rglob(fault.file) if path.read_text(encoding="utf-8").count(fault.right) == 1]
    return found[0] if len(found) == 1 else None


def planted(fault: Fault, folder: Path) -> Path:
    """Copy what the tests need into `folder`, with the fault in the source; return the copy's root."""
    copy = folder / "afina"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.name not in ("src", ".git"):
            (copy / path.name).symlink_to(path)
    path = place_of(fault, copy / "src")
    if path is None:
        raise SystemExit(f"{fault.name}: {fault.right!r} should stand once in one {fault.file} of the source.")
    path.write_text(path.read_text(encoding="utf-8").replace(fault.right, fault.wrong), encoding="utf-8")
    return copy


def tried(copy: Path, tests: str) -> int:
    """Run the tests on the copy in a fork of this process; return pytest's exit code."""
    process = os.fork()
    if process == 0:
        code = 70
        try:
            code = _run(copy, tests)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _run(copy: Path, tests: str) -> int:
    import pytest

    assert not any(name.split(".")[0] == "afina" for name in sys.modules), "afina is imported before the fault is"
    os.chdir(copy)
    sys.path.insert(0, str(copy / "src"))
    os.environ["PYTHONPATH"] = str(copy / "src")
    file, _, words = tests.partition(" ")
    paths = [str(path) for path in (copy / "tests").rglob(f"{file}.py")]
    assert paths, f"there is no {file}.py"
    arguments = [*paths, "-x", "-q", "--short", "-p", "no:cacheprovider", *QUIET, *(["-k", words] if words else [])]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = int(pytest.main(arguments))
    if code not in (0, 1) or os.environ.get("MUTATIONS_VERBOSE"):
        print(said.getvalue(), file=sys.stderr)
    return code


def main() -> int:
    """Try the faults that the words on the command line name, or all."""
    words = sys.argv[1:]
    faults = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch
    import transformers.models.auto.modeling_auto

    _ = torch, transformers
    survived = []
    for fault in faults:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            code = tried(planted(fault, Path(folder)), fault.tests)
        word = {0: "SURVIVED", 1: "caught", 5: "NO SUCH TEST"}.get(code, f"BROKEN ({code})")
        if code != 1:
            survived.append(fault.name)
        print(f"{word:12} {fault.name:24} {fault.tests:50} {time.perf_counter() - started:5.1f} s", flush=True)
    print(f"{len(faults) - len(survived)} of {len(faults)} faults caught.")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
