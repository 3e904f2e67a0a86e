"""What a long text of an exception, or the end of a log, comes down to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.run.wording import cause, plain, without_noise

KERAS_3 = (
    "Exception encountered when calling Dense.call().\n\n\x1b[1m{{function_node __wrapped__MatMul}} Matrix size-incompatible: "
    "In[0]: [1,3], In[1]: [4,2] [Op:MatMul] name: \x1b[0m\n\nArguments received by Dense.call():\n  • inputs=tf.Tensor(shape=(1, 3))"
)
KERAS_2 = (
    "Exception encountered when calling layer 'l' (type L).\n\nin user code:\n\n    File \"/workspace/code/train.py\", line 2, in call  *\n"
    "        return tf.matmul(x, w)\n\n    ValueError: Dimensions must be equal, but are 3 and 5.\n\n\n"
    "Call arguments received by layer 'l' (type L):\n  • x=tf.Tensor(shape=(None, 3))"
)
USER_CODE = (
    'in user code:\n\n    File "/workspace/code/train.py", line 3, in step  *\n        x = f(x)\n'
    '    File "/usr/lib/k.py", line 70, in error_handler\n        raise e.with_traceback(tb) from None\n\n'
    "    ValueError: mine: bad\n    second line\n\n    Call arguments received by layer 'm' (type M):\n      • x=1\n"
)
GRAPH = (
    "Graph execution error:\n\nDetected at node embedding/GatherV2 defined at (most recent call last):\n"
    '  File "/workspace/code/train.py", line 24, in <module>\n\n  File "/usr/lib/k.py", line 117, in error_handler\n\n'
    "indices[0,0] = 9 is not in [0, 3)\n\t [[{{node embedding/GatherV2}}]] [Op:__inference_step_865]"
)
ROOT_ERRORS = (
    "Graph execution error:\n\nNode: 'a/b'\n2 root error(s) found.\n  (0) INVALID_ARGUMENT:  Incompatible shapes: [2] vs. [3]\n"
    "\t [[{{node a/b}}]]\n  (1) INVALID_ARGUMENT:  Incompatible shapes: [2] vs. [3]\n\t [[{{node a/b}}]]\n0 successful operations."
)
FROM_PYTHON = (
    "{{function_node __wrapped__Map}} TypeError: `generator` yielded 'a'.\nTraceback (most recent call last):\n\n  File \"x.py\", line 3"
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (KERAS_3, "Matrix size-incompatible: In[0]: [1,3], In[1]: [4,2] (when calling Dense.call())"),
        (KERAS_2, "Dimensions must be equal, but are 3 and 5. (when calling layer 'l' (type L))"),
        (USER_CODE, "mine: bad second line"),
        (GRAPH, "indices[0,0] = 9 is not in [0, 3)"),
        (ROOT_ERRORS, "Incompatible shapes: [2] vs. [3]"),
        (FROM_PYTHON, "TypeError: `generator` yielded 'a'."),
        ("one\n\ttwo\n", "one two"),
        ("\x1b]0;title\x07\x1b[0;31mred\x1b[m \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x9b1mbold\x07", "red link bold"),
        ("Exception encountered when calling X.call().", "Exception encountered when calling X.call()."),
        ("in user code:\n\n    nothing of a kind", "in user code: nothing of a kind"),
        ("Graph execution error:", "Graph execution error:"),
        ("Traceback (most recent call last):\n  File", "Traceback (most recent call last): File"),
        ("", ""),
    ],
)
def test_of_what_keras_and_tensorflow_wrap_up_the_cause_is_told_on_one_line(text: str, told: str) -> None:
    assert cause(text) == told


@given(st.text(alphabet=st.sampled_from("\x1b[]m\x9b\x07\n :(0)ErorA") | st.characters(), max_size=300))
def test_any_text_becomes_one_line_that_no_terminal_obeys(text: str) -> None:
    for wrapped in (text, f"in user code:\n{text}", f"Graph execution error:\n{text}", f"Exception encountered when calling {text}"):
        assert "\n" not in cause(wrapped)
        assert not set(plain(wrapped)) & {"\x1b", "\x9b", "\x07"}


NOISE = [
    "2026-11-29 05:11:45.111152: I tensorflow/core/util/port.cc:113] oneDNN custom operations are on.",
    "2026-11-29 05:11:45.220065: I tensorflow/core/platform/cpu_feature_guard.cc:182] This TensorFlow binary is optimized.",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate compiler flags.",
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795929094.846224   16830 port.cc:153] oneDNN custom operations are on.",
    "E0000 00:00:1795929094.846224   16830 cuda_dnn.cc:8310] Unable to register cuDNN factory",
    "W0000 00:00:1795929094.846224   16830 computation_placer.cc:177] computation placer already registered.",
    "2026-11-29 05:11:45.1: E external/local_xla/xla/stream_executor/cuda/cuda_driver.cc:152] failed call to cuInit",
    "2026-11-29 05:11:45.1: W tensorflow/compiler/tf2tensorrt/utils/py_utils.cc:38] TF-TRT Warning",
    "Skipping registering GPU devices...",
]
TELLING = [
    "2026-11-29 05:11:45.1: W external/local_tsl/tsl/framework/cpu_allocator_impl.cc:83] Allocation of 9 exceeds 10%.",
    "W0000 00:00:1795929101.098760   16876 local_rendezvous.cc:412] aborting with status: INVALID_ARGUMENT: indices[0,0] = 9",
    "E0000 00:00:1795929101.098760   16876 loop.cc:1] the input is broken",
    "F0000 00:00:1795929101.098760   16876 tensor.cc:9] Check failed: 1 == 2",
    "I1129 10:00:00.123456 140 train.py:12] epoch 3 of the user's own",
    "step 3",
]


@pytest.mark.parametrize("telling", TELLING)
def test_what_tensorflow_says_while_it_starts_leaves_no_trace_beside_something_that_tells(telling: str) -> None:
    assert without_noise("\n".join([*NOISE, telling, *NOISE]) + "\n") == f"{telling}\n"


def test_where_there_is_nothing_else_the_noise_stays() -> None:
    text = "\n".join(NOISE) + "\n\n"
    assert without_noise(text) == text
