import json
import subprocess
import sys

FORBIDDEN = ("apache_beam", "tensorflow", "torch", "transforms", "pipelines")


def test_the_trainer_brings_in_neither_beam_nor_tensorflow_nor_torch():
    program = (
        "import json, sys, trainer.train, trainer.evaluate, trainer.export\n"
        f"print(json.dumps([n for n in {FORBIDDEN!r} if n in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []
