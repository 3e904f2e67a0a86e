"""What programs do beside training: threads that feed a generator, a subprocess, a spawned pool, signals, and no standard input."""
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading

import numpy as np


def square(number):
    return number * number


def main():
    import tensorflow as tf

    assert sys.stdin.read() == ""
    code = "import sys; print(sys.argv[1].upper(), len(sys.stdin.read()))"
    told = subprocess.run([sys.executable, "-c", code, "child"], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
    shell = subprocess.check_output("echo $((6 * 7))", shell=True, text=True)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        squares = pool.map(square, range(5))

    items = queue.Queue(maxsize=4)

    def produce(seed):
        draw = np.random.default_rng(seed)
        for _ in range(50):
            x = draw.normal(size=3).astype("float32")
            items.put((x, x @ np.array([1, 2, 3], "float32")))
        items.put(None)

    threads = [threading.Thread(target=produce, args=(seed,), daemon=True) for seed in range(3)]
    for thread in threads:
        thread.start()

    def generate():
        ended = 0
        while ended < len(threads):
            item = items.get()
            if item is None:
                ended += 1
            else:
                yield item

    signature = (tf.TensorSpec((3,), tf.float32), tf.TensorSpec((), tf.float32))
    data = tf.data.Dataset.from_generator(generate, output_signature=signature).batch(10)
    weights = tf.Variable(tf.zeros((3, 1)))
    seen = 0
    for x, y in data:
        seen += len(y)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(tf.matmul(x, weights)[:, 0] - y))
        weights.assign_sub(0.1 * tape.gradient(loss, weights))

    heard = []
    signal.signal(signal.SIGUSR2, lambda number, _: heard.append(number))
    os.kill(os.getpid(), signal.SIGUSR2)
    print("RESULT", told.split(), shell.strip(), squares, seen, float(loss), heard)
    assert (told.split(), shell.strip(), squares, seen) == (["CHILD", "0"], "42", [0, 1, 4, 9, 16], 150)


if __name__ == "__main__":
    main()
