"""Messages that one process leaves for another: operator and pod, `fetch` and the containers after it, a run and its later readers."""
