"""Who watches over the script, in a process of its own: it takes the signals of the whole process."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import subprocess
from types import SimpleNamespace
from tftrainer.run.outcome import Stop
from tftrainer.run.supervisor import Asked, Supervisor, Wakeup

wakeup = Wakeup()
script = subprocess.Popen(["sleep", "300"], start_new_session=True)
watch = SimpleNamespace(look=lambda: None, last_look=lambda: None)
wakeup.post(Asked(Stop.HUNG, number=0))
end = Supervisor(script.pid, (), wakeup, watch, grace=0.5, deadline=0.5).run()
print(end.stop.name)
"""


def test_a_script_that_is_only_said_to_end_is_still_ended_by_its_deadline() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("HUNG\n", "")
