"""The `fetch` container: everything the script needs lies in the workspace before it starts, or the job says why not."""
