"""What `helm test` runs: a job of a few seconds, from creation to its end, through the Kubernetes API as any user would."""

import sys
import time

from kubernetes import client, config, watch

GROUP, VERSION, PLURAL = "tftraining.dev", "v1alpha1", "tftrainingjobs"
DEADLINE_SECONDS = 180
SCRIPT = """
import pathlib, sys
pathlib.Path(sys.argv[1]).write_text("written by helm test\\n")
print("the script ran")
"""


def body(name):
    """Return a job that writes one object into the bucket."""
    spec = {
        "script": {"name": "hello.py", "inline": SCRIPT},
        "args": ["${bucket}/helm-test/" + name + ".txt"],
        "resources": {"cpu": "100m", "memory": "256Mi", "workspace": "100Mi"},
        "pendingDeadlineSeconds": DEADLINE_SECONDS,
        "activeDeadlineSeconds": 60,
    }
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "TFTrainingJob", "metadata": {"name": name}, "spec": spec}


def wait_until_finished(api, namespace, name, begin):
    """Return the status of the job once it has finished, or its last one when the time is over."""
    status, said = {}, None
    while (left := begin + DEADLINE_SECONDS - time.monotonic()) > 0:
        selection = {"field_selector": f"metadata.name={name}", "timeout_seconds": max(1, int(left))}
        for event in watch.Watch().stream(api.list_namespaced_custom_object, GROUP, VERSION, namespace, PLURAL, **selection):
            status = event["object"].get("status", {})
            line = f"{status.get('phase')}: {status.get('message', '')}"
            if line != said:
                print(f"{time.monotonic() - begin:5.1f} s  {line}", flush=True)
                said = line
            if any(item["type"] == "Finished" and item["status"] == "True" for item in status.get("conditions", [])):
                return status
    return status


def main(namespace, name):
    """Run the job, say what became of it, and return the exit code. A job that failed stays for a look at it."""
    config.load_incluster_config()
    api = client.CustomObjectsApi()
    try:
        api.delete_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name, propagation_policy="Foreground")
    except client.ApiException as error:
        if error.status != 404:
            raise
    begin = time.monotonic()
    while True:
        try:
            api.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, body(name), field_validation="Strict")
            break
        except client.ApiException as error:
            # The job of an earlier test, and its pod, may still be on their way out.
            if error.status != 409 or time.monotonic() > begin + 60:
                raise
            time.sleep(1)
    status = wait_until_finished(api, namespace, name, begin)
    if status.get("phase") != "Succeeded":
        print(f"job {namespace}/{name} did not succeed; look at it: kubectl -n {namespace} describe tftj {name}")
        return 1
    print(f"job {namespace}/{name} succeeded, its manifest: {status['outputs']['manifest']}")
    api.delete_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
