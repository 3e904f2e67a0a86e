"""What a string of a job file must look like: the rules of the custom resource definition, which a test compares with these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta

RULES: Final = "rules"


class Rule(NamedTuple):
    """A string must match `pattern` as a whole (or must not, with `refuse`)."""

    pattern: str
    message: str
    refuse: bool = False

    def broken_by(self, text: str) -> bool:
        """Whether the text breaks the rule."""
        return (re.fullmatch(self.pattern, text, re.DOTALL) is None) is not self.refuse


def _text(least: int | None, most: int, *rules: Rule) -> Any:
    return Meta(min_length=least, max_length=most, extra={RULES: rules})


_LABEL: Final = "[a-z0-9]+(-+[a-z0-9]+)*"
_SUBDOMAIN: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
"""How Kubernetes names most objects (RFC 1123)."""
_BUCKET: Final = rf"{_LABEL}(\.{_LABEL})*"
_FORM: Final = (
    "must be s3://bucket/key, ${bucket}/key or ${datasets}/key; ${bucket} is the storage Secret's bucket, "
    "a bucket has 3 to 63 characters of a-z, 0-9, - and ."
)
_ROOT: Final = rf"(s3://{_BUCKET}|\$\{{(bucket|cos|datasets|ai_dataset_lib)\}})/"
_KEY: Final = (
    Rule(r"s3://([^/]{64,}|[^/]{1,2}|[0-9]+(\.[0-9]+){3})/.*", _FORM, refuse=True),
    Rule(
        r".*[\x00-\x1f\x7f-\x9f" "\u2028\u2029" r"\\%#?].*",
        "must not contain a backslash, %, #, ? or a control character: the key is taken as it is written, never decoded",
        refuse=True,
    ),
    Rule(".*[^/]{256,}.*", "must not contain a name of more than 255 characters between slashes: no file can have it", refuse=True),
    Rule(
        r"(s3://[^/]+|\$\{[a-z_]+\})(/.*)?/(\.{0,2}/.*|\.{1,2})",
        "must not contain an empty segment (//) nor . or .. as a segment",
        refuse=True,
    ),
)
_URI: Final = (Rule(f"{_ROOT}.+", _FORM), *_KEY)
_PLACEHOLDERS: Final = ("bucket", "cos", "datasets", "ai_dataset_lib", "job", "attempt")
_KNOWN: Final = ", ".join(f"${{{name}}}" for name in _PLACEHOLDERS)
_RESERVED: Final = (
    r"LD_.*|AWS_.*|MINIO_.*|KUBERNETES_.*|TFTRAINING_.*|TF_CONFIG|PATH|HOME|"
    r"PYTHON(PATH|HOME|STARTUP|INSPECT|EXECUTABLE|SAFEPATH|USERBASE|NOUSERSITE|PLATLIBDIR|BREAKPOINT|UNBUFFERED)|"
    r"(NVIDIA|AMD|HABANA)_VISIBLE_DEVICES|NVIDIA_(DRIVER_CAPABILITIES|IMEX_CHANNELS|MIG_(CONFIG|MONITOR)_DEVICES)"
)

Uri = Annotated[str, _text(8, 1100, *_URI)]
ObjectUri = Annotated[str, _text(8, 1100, *_URI, Rule(".*/", "must name an object, not a folder: no / at the end", refuse=True))]
InputUri = Annotated[
    str,
    _text(7, 1100, Rule(f"{_ROOT}.*", f"{_FORM}; for all that a bucket holds, such as s3://bucket/, end with the / behind it"), *_KEY),
]
_OUTPUT_FOLDER: Final = (
    *_URI,
    Rule(r"\$\{(bucket|cos)\}/.*", "must lie in the job's own bucket, where the script writes: ${bucket}/key"),
)
OutputFolder = Annotated[str, _text(8, 1100, *_OUTPUT_FOLDER)]
OutputPath = Annotated[
    str,
    _text(
        8,
        1100,
        *_OUTPUT_FOLDER,
        Rule(r".*[*\[].*", "must name one object or folder, without * and [: a folder stands for all in it", refuse=True),
    ),
]
Requirement = Annotated[
    str,
    _text(
        1,
        256,
        Rule(
            r"[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?(\[[-A-Za-z0-9._, ]+\])?"
            r"( *(==|~=|!=|<=|>=|<|>) *[A-Za-z0-9.*+!_-]+( *, *(==|~=|!=|<=|>=|<|>) *[A-Za-z0-9.*+!_-]+)*)?",
            'must be the name of a package and its versions, such as pandas==2.2.3 or "nltk>=3.8,<4": no address, option or file',
        ),
    ),
]
Sha256 = Annotated[str, _text(None, 64, Rule("[0-9a-f]{64}", "must be a SHA-256 digest: 64 hexadecimal digits in lower case"))]
DnsName = Annotated[
    str,
    _text(
        1,
        253,
        Rule(
            _SUBDOMAIN,
            "must be the name of an object in the job's own namespace: a-z, 0-9, - and .",
        ),
    ),
]
Argument = Annotated[
    str,
    _text(
        None,
        2048,
        Rule(r".*[\x00-\x08\x0b\x0c\x0e-\x1f\x7f].*", "must not contain control characters besides tab and newline", refuse=True),
        Rule(
            rf"([^$]|[$]{{2,}}[{{]|[$][{{]({'|'.join(_PLACEHOLDERS)}|withheld|inputs[.][-_A-Za-z0-9]+)[}}]|[$]+[^${{]|[$]+$)*",
            f"unknown placeholder; known are {_KNOWN} and ${{inputs.NAME}} of a declared input; $${{ is a literal ${{",
        ),
        Rule(
            r"(.*[^$])?[$][{]withheld[}].*",
            "holds ${withheld}, which stands for a credential that the record of a run leaves out: write the value here again, or better "
            "into a variable with valueFrom.secretKeyRef",
            refuse=True,
        ),
    ),
]
VariableName = Annotated[
    str,
    _text(
        1,
        128,
        Rule("[A-Za-z_][A-Za-z0-9_]*", "must be a variable name: letters, digits and _, not starting with a digit"),
        Rule(
            _RESERVED,
            "is reserved: LD_*, AWS_*, MINIO_*, KUBERNETES_*, TFTRAINING_*, TF_CONFIG, PATH, HOME, the PYTHON* variables that change how "
            "Python starts and the *_VISIBLE_DEVICES that hand out GPUs (ask for them in spec.resources.gpus) are set by the operator, so "
            "that credentials, start-up and other jobs' devices stay out of a job's reach; leave it out",
            refuse=True,
        ),
    ),
]
SecretKey = Annotated[str, _text(1, 253, Rule("[-._a-zA-Z0-9]+", "must be a key of a Secret: letters, digits, -, _ and ."))]
InputName = Annotated[
    str,
    _text(
        1,
        63,
        Rule("[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?", "must be letters, digits, - and _, with a letter or digit at both ends"),
    ),
]
ScriptName = Annotated[
    str,
    _text(
        4,
        128,
        Rule(r"[A-Za-z0-9_][-A-Za-z0-9_.]*\.py", "must be a file name such as train.py: letters, digits, -, _ and ., ending in .py"),
    ),
]
_BELOW: Final = (
    Rule(r"/.*|(.*/)?\.\.(/.*)?", "must lie below the script's working directory: without / at the beginning, and without ..", refuse=True),
    Rule(r".*([\x00-\x1f\x7f-\x9f\\]|[$][{]).*", "must not contain a backslash, a placeholder or a control character", refuse=True),
)
CodePath = Annotated[str, _text(1, 512, *_BELOW, Rule(r"(.*/)?\.?", "must be the path of a file, such as src/train.py", refuse=True))]
CodeFolder = Annotated[str, _text(1, 512, *_BELOW)]
ModuleName = Annotated[
    str,
    _text(
        1,
        256,
        Rule(
            r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*",
            "must be the name of a module, such as package.train, as python -m takes it: names with dots between them",
        ),
        Rule(r".*\.py", "must be the name of a module without .py, such as package.train; a file is named in script.path", refuse=True),
    ),
]
RuntimeName = Annotated[
    str,
    _text(1, 63, Rule("[a-z0-9]([-a-z0-9.]*[a-z0-9])?", "must be a name of the operator's runtime catalogue, such as tf1 or tf2")),
]
ClassName = Annotated[
    str,
    _text(1, 63, Rule("[a-z0-9]([-a-z0-9.]*[a-z0-9])?", "must be a name of the operator's catalogue of resource classes, such as v100-x1")),
]
ManagerName = Annotated[
    str,
    _text(
        1,
        63,
        Rule(
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[-A-Za-z0-9._~/]+",
            "must be the name of a controller with its domain before it, such as kueue.x-k8s.io/multikueue",
        ),
    ),
]
QueueName = Annotated[
    str,
    _text(
        1,
        253,
        Rule(
            _SUBDOMAIN,
            "must be the name of a LocalQueue in the job's namespace: a-z, 0-9, - and .",
        ),
    ),
]
PriorityClassName = Annotated[
    str,
    _text(
        1,
        253,
        Rule(
            _SUBDOMAIN,
            "must be the name of a PriorityClass: a-z, 0-9, - and .",
        ),
    ),
]
NodeKey = Annotated[
    str,
    _text(
        1,
        317,
        Rule(
            r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?",
            "must be the key of a label or taint, such as topology.kubernetes.io/zone",
        ),
    ),
]
NodeValue = Annotated[
    str,
    _text(
        None,
        63,
        Rule(
            r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?",
            "must be the value of a label or taint: at most 63 letters, digits, -, _ and ., with a letter or digit at both ends",
        ),
    ),
]
ResourceName = Annotated[
    str,
    _text(
        1,
        253,
        Rule(
            r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?",
            "must be an extended resource such as nvidia.com/gpu or nvidia.com/mig-1g.10gb",
        ),
    ),
]
Cpu = (
    Annotated[
        str,
        _text(
            None,
            20,
            Rule("[0-9]{1,4}([.][0-9]{1,3})?|[0-9]{1,7}m", 'must be a number of CPUs such as 2, "0.5" or 500m'),
            Rule("[0.]*m?", "must be more than 0", refuse=True),
        ),
    ]
    | int
)
Size = (
    Annotated[
        str,
        _text(
            None,
            20,
            Rule("[0-9]{1,9}([.][0-9]{1,3})?(Mi|M|Gi|G|Ti|T)", "must be a size with a unit, such as 512Mi, 4Gi or 1Ti"),
            Rule("[0.]*[A-Za-z]*", "must be more than 0", refuse=True),
        ),
    ]
    | int
)


def broken(value: str | int, metadata: Meta) -> Iterator[str]:
    """Yield the messages of the rules that a value breaks."""
    for rule in (metadata.extra or {}).get(RULES, ()):
        if rule.broken_by(str(value)):
            yield rule.message
