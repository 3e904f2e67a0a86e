"""The building blocks of a spec: bounded strings with the rule that each kind has to keep."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from tftraining_operator.api.rules import KeyBytes, Keys, Matches

URI_LIMIT: Final = 1100
"""Characters of a URI: a key of 1024 bytes, a bucket of 63, the scheme."""
KEY_LIMIT: Final = 1024
ARGUMENT_LIMIT: Final = 2048
INLINE_LIMIT: Final = 256 * 1024
TOTAL_LIMIT: Final = 48 * 1024
"""Bytes of arguments, environment and URIs together: with JSON's escapes the plan stays below `contract.PLAN_LIMIT`."""

PLACES: Final = ("bucket", "cos", "datasets", "ai_dataset_lib")
"""Placeholders that name a place in a bucket; `cos` is `bucket`, `ai_dataset_lib` is `datasets`."""
PLACEHOLDERS: Final = (*PLACES, "job", "attempt")
"""All placeholders but `inputs.NAME`."""

_LABEL: Final = "[a-z0-9]+(-+[a-z0-9]+)*"
_SUBDOMAIN: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
"""How Kubernetes names most objects (RFC 1123)."""
_BUCKET: Final = rf"{_LABEL}(\.{_LABEL})*"
_FORM: Final = (
    "must be s3://bucket/key, ${bucket}/key or ${datasets}/key; ${bucket} is the storage Secret's bucket, "
    "a bucket has 3 to 63 characters of a-z, 0-9, - and ."
)

RESERVED: Final = (
    r"LD_.*|AWS_.*|MINIO_.*|KUBERNETES_.*|TFTRAINING_.*|TF_CONFIG|PATH|HOME|"
    r"PYTHON(PATH|HOME|STARTUP|INSPECT|EXECUTABLE|SAFEPATH|USERBASE|NOUSERSITE|PLATLIBDIR|BREAKPOINT|UNBUFFERED)|"
    # A container runtime made for accelerators mounts whatever device these name, granted by the scheduler or not.
    r"(NVIDIA|AMD|HABANA)_VISIBLE_DEVICES|NVIDIA_(DRIVER_CAPABILITIES|IMEX_CHANNELS|MIG_(CONFIG|MONITOR)_DEVICES)"
)


class Model(BaseModel):
    """Base of what is read from the API server: camelCase, and unknown fields ignored, so that a newer definition crashes nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


def _digits(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_ROOT: Final = rf"(s3://{_BUCKET}|\$\{{(bucket|cos|datasets|ai_dataset_lib)\}})/"
_RULES: Final = (
    KeyBytes(KEY_LIMIT),
    Matches(r"s3://([^/]{64,}|[^/]{1,2}|[0-9]+(\.[0-9]+){3})/.*", _FORM, refuse=True),
    Matches(
        r".*[\x00-\x1f\x7f-\x9f" "\u2028\u2029" r"\\%#?].*",
        "must not contain a backslash, %, #, ? or a control character: the key is taken as it is written, never decoded",
        refuse=True,
    ),
    Matches(".*[^/]{256,}.*", "must not contain a name of more than 255 characters between slashes: no file can have it", refuse=True),
    Matches(
        r"(s3://[^/]+|\$\{[a-z_]+\})(/.*)?/(\.{0,2}/.*|\.{1,2})",
        "must not contain an empty segment (//) nor . or .. as a segment",
        refuse=True,
    ),
)
Uri = Annotated[str, Field(min_length=8, max_length=URI_LIMIT), Matches(f"{_ROOT}.+", _FORM), *_RULES]
"""An object, or with a trailing `/` a folder, in a bucket."""

InputUri = Annotated[
    str,
    Field(min_length=7, max_length=URI_LIMIT),
    Matches(f"{_ROOT}.*", f"{_FORM}; for all that a bucket holds, such as s3://bucket/, end with the / behind it"),
    *_RULES,
]
"""The same, or all of a bucket."""

ObjectUri = Annotated[Uri, Matches(r".*/", "must name an object, not a folder: no / at the end", refuse=True)]

OutputFolder = Annotated[
    Uri,
    Matches(r"\$\{(bucket|cos)\}/.*", "must lie in the job's own bucket, where the script writes: ${bucket}/key"),
]

OutputPath = Annotated[
    OutputFolder,
    Matches(r".*[*\[].*", "must name one object or folder, without * and [: a folder stands for all in it", refuse=True),
]

Requirement = Annotated[
    str,
    Field(min_length=1, max_length=256),
    Matches(
        r"[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?(\[[-A-Za-z0-9._, ]+\])?"
        r"( *(==|~=|!=|<=|>=|<|>) *[A-Za-z0-9.*+!_-]+( *, *(==|~=|!=|<=|>=|<|>) *[A-Za-z0-9.*+!_-]+)*)?",
        'must be the name of a package and its versions, such as pandas==2.2.3 or "nltk>=3.8,<4": no address, option or file',
    ),
]

Sha256 = Annotated[str, Field(max_length=64), Matches("[0-9a-f]{64}", "must be a SHA-256 digest: 64 hexadecimal digits in lower case")]

DnsName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Matches(
        _SUBDOMAIN,
        "must be the name of an object in the job's own namespace: a-z, 0-9, - and .",
    ),
]

_KNOWN: Final = ", ".join(f"${{{name}}}" for name in PLACEHOLDERS)

Argument = Annotated[
    str,
    Field(max_length=ARGUMENT_LIMIT),
    Matches(r".*[\x00-\x08\x0b\x0c\x0e-\x1f\x7f].*", "must not contain control characters besides tab and newline", refuse=True),
    # Read as: no dollar; two or more and a brace, which is literal; a known placeholder; dollars before something else.
    Matches(
        rf"([^$]|[$]{{2,}}[{{]|[$][{{]({'|'.join(PLACEHOLDERS)}|withheld|inputs[.][-_A-Za-z0-9]+)[}}]|[$]+[^${{]|[$]+$)*",
        f"unknown placeholder; known are {_KNOWN} and ${{inputs.NAME}} of a declared input; $${{ is a literal ${{",
        shows=True,
    ),
    Matches(
        r"(.*[^$])?[$][{]withheld[}].*",
        "holds ${withheld}, which stands for a credential that the record of a run leaves out: write the value here again, or better "
        "into a variable with valueFrom.secretKeyRef",
        refuse=True,
    ),
]

VariableName = Annotated[
    str,
    Field(min_length=1, max_length=128),
    Matches("[A-Za-z_][A-Za-z0-9_]*", "must be a variable name: letters, digits and _, not starting with a digit"),
    Matches(
        RESERVED,
        "is reserved: LD_*, AWS_*, MINIO_*, KUBERNETES_*, TFTRAINING_*, TF_CONFIG, PATH, HOME, the PYTHON* variables that change how "
        "Python starts and the *_VISIBLE_DEVICES that hand out GPUs (ask for them in spec.resources.gpus) are set by the operator, so "
        "that credentials, start-up and other jobs' devices stay out of a job's reach; leave it out",
        refuse=True,
    ),
]

SecretKey = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Matches("[-._a-zA-Z0-9]+", "must be a key of a Secret: letters, digits, -, _ and ."),
]

InputName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    Matches("[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?", "must be letters, digits, - and _, with a letter or digit at both ends"),
]

ScriptName = Annotated[
    str,
    Field(min_length=4, max_length=128),
    Matches(r"[A-Za-z0-9_][-A-Za-z0-9_.]*\.py", "must be a file name such as train.py: letters, digits, -, _ and ., ending in .py"),
]

_BELOW: Final = (
    Matches(
        r"/.*|(.*/)?\.\.(/.*)?", "must lie below the script's working directory: without / at the beginning, and without ..", refuse=True
    ),
    Matches(r".*([\x00-\x1f\x7f-\x9f\\]|[$][{]).*", "must not contain a backslash, a placeholder or a control character", refuse=True),
)

CodePath = Annotated[
    str,
    Field(min_length=1, max_length=512),
    *_BELOW,
    Matches(r"(.*/)?\.?", "must be the path of a file, such as src/train.py", refuse=True),
]

CodeFolder = Annotated[str, Field(min_length=1, max_length=512), *_BELOW]

ModuleName = Annotated[
    str,
    Field(min_length=1, max_length=256),
    Matches(
        r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*",
        "must be the name of a module, such as package.train, as python -m takes it: names with dots between them",
    ),
    Matches(r".*\.py", "must be the name of a module without .py, such as package.train; a file is named in script.path", refuse=True),
]

RuntimeName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    Matches("[a-z0-9]([-a-z0-9.]*[a-z0-9])?", "must be a name of the operator's runtime catalogue, such as tf1 or tf2"),
]

ClassName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    Matches("[a-z0-9]([-a-z0-9.]*[a-z0-9])?", "must be a name of the operator's catalogue of resource classes, such as v100-x1"),
]

ManagerName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    Matches(
        r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[-A-Za-z0-9._~/]+",
        "must be the name of a controller with its domain before it, such as kueue.x-k8s.io/multikueue",
    ),
]

PriorityClassName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Matches(
        _SUBDOMAIN,
        "must be the name of a PriorityClass: a-z, 0-9, - and .",
    ),
]

QueueName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Matches(
        _SUBDOMAIN,
        "must be the name of a LocalQueue in the job's namespace: a-z, 0-9, - and .",
    ),
]

_KEY_OF_NODES: Final = r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_NO_KEY: Final = "must be the key of a label or taint, such as topology.kubernetes.io/zone"

NodeKey = Annotated[str, Field(min_length=1, max_length=317), Matches(_KEY_OF_NODES, _NO_KEY)]
"""Key of a label of nodes, or of a taint."""

NodeValue = Annotated[
    str,
    Field(max_length=63),
    Matches(
        r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?",
        "must be the value of a label or taint: at most 63 letters, digits, -, _ and ., with a letter or digit at both ends",
    ),
]

NodeSelector = Annotated[dict[str, NodeValue], Field(max_length=16), Keys(_KEY_OF_NODES, _NO_KEY)]

ResourceName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Matches(
        r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?",
        "must be an extended resource such as nvidia.com/gpu or nvidia.com/mig-1g.10gb",
    ),
]

_INT_OR_STRING: Final = {"x-kubernetes-int-or-string": True, "maxLength": 20}

Cpu = Annotated[
    str,
    BeforeValidator(_digits),
    Field(max_length=20),
    WithJsonSchema(_INT_OR_STRING),
    Matches("[0-9]{1,4}([.][0-9]{1,3})?|[0-9]{1,7}m", 'must be a number of CPUs such as 2, "0.5" or 500m'),
    Matches("[0.]*m?", "must be more than 0", refuse=True),
]

Size = Annotated[
    str,
    BeforeValidator(_digits),
    Field(max_length=20),
    WithJsonSchema(_INT_OR_STRING),
    Matches("[0-9]{1,9}([.][0-9]{1,3})?(Mi|M|Gi|G|Ti|T)", "must be a size with a unit, such as 512Mi, 4Gi or 1Ti"),
    Matches("[0.]*[A-Za-z]*", "must be more than 0", refuse=True),
]
