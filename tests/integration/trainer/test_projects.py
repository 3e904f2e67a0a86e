"""How a job's code is named: a whole folder, a file or a module in it, and where each thing lies when the script starts."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages import handover
from tftrainer.messages.contract import CodePins, FetchReport, Pinned, Plan, Reason, Reference, Script, Variable
from tftrainer.messages.handover import Baseline, Resolved

from tests.integration.trainer.pods import Pod
from tests.integration.trainer.test_preflight import next_attempt, refused, zipped

PROJECT = {
    "train.py": 'from src.model import build\nimport settings\nprint(build(), settings.X, open("conf/base.json").read())\n',
    "src/__init__.py": "",
    "src/model.py": "def build():\n    return 'model'\n",
    "src/sub.py": "from .model import build\nimport sys\nprint(build(), open('conf/base.json').read(), sys.path[0], __package__)\n",
    "settings.py": "X = 1\n",
    "conf/base.json": '{"lr": 1}',
    "tools/run.py": "import helper, settings, sys\nprint(helper.Y, settings.X, open('conf/base.json').read(), sys.path[0])\n",
    "tools/helper.py": "Y = 2\n",
}
FILES = (Reference(uri="${bucket}/project/"),)


@pytest.fixture
def project(pod: Pod) -> Pod:
    for name, text in PROJECT.items():
        pod.put(f"project/{name}", text)
    return pod


def of(plan: Plan, script: Script, **changes: object) -> Plan:
    return msgspec.structs.replace(plan, script=script, **changes)


def uri(key: str) -> Script:
    return Script(name=key.rpartition("/")[2], uri=f"${{bucket}}/{key}")


def resolved(pod: Pod) -> Resolved:
    return handover.read(Resolved, pod.state / "resolved.json")


def printed(pod: Pod) -> str:
    """Return what the script prints, started as the launcher starts it."""
    run = resolved(pod)
    command = [sys.executable, *(["-m", run.module] if run.module else [run.script]), *run.argv]
    environment = {"PYTHONPATH": ":".join(run.path), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command, cwd=run.cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip().replace(str(pod.root), "")


def fetched(pod: Pod, plan: Plan) -> tuple[str, FetchReport]:
    ended, report = pod.fetch(plan)
    assert report.failure is None, ended.output
    return ended.output, report


def test_a_folder_of_files_that_holds_the_script_is_the_working_directory(project: Pod, plan: Plan) -> None:
    log, _ = fetched(project, of(plan, uri("project/train.py"), files=FILES))
    assert printed(project) == 'model 1 {"lr": 1}'
    assert (
        "spec.dependencies.files[0].uri holds the script, so what it holds is the working directory, and the script runs as train.py" in log
    )


def test_a_script_in_a_folder_of_the_project_runs_from_there_and_finds_what_lies_at_the_top(project: Pod, plan: Plan) -> None:
    fetched(project, of(plan, uri("project/tools/run.py"), files=FILES))
    assert printed(project) == '2 1 {"lr": 1} /workspace/code/tools'


def test_of_two_folders_that_hold_the_script_the_outermost_is_the_project(project: Pod, plan: Plan) -> None:
    fetched(project, of(plan, uri("project/tools/run.py"), files=(Reference(uri="${bucket}/project/tools/"), *FILES)))
    assert printed(project) == '2 1 {"lr": 1} /workspace/code/tools'


@pytest.mark.parametrize("name", ["s3", "placeholder"])
def test_the_project_is_found_however_script_and_folder_are_written(project: Pod, plan: Plan, name: str) -> None:
    whole = f"s3://{project.bucket}/project/"
    script = Script(name="train.py", uri=whole + "train.py") if name == "s3" else uri("project/train.py")
    fetched(project, of(plan, script, files=FILES if name == "s3" else (Reference(uri=whole),)))
    assert printed(project) == 'model 1 {"lr": 1}'


def test_with_into_a_folder_that_holds_the_script_lies_where_it_says(project: Pod, plan: Plan) -> None:
    project.put("project/train.py", "import os\nprint(*sorted(os.listdir()), *sorted(os.listdir('lib/inner')))\n")
    fetched(project, of(plan, uri("project/train.py"), files=(Reference(uri="${bucket}/project/", into="./lib/inner/"),)))
    assert printed(project) == "lib train.py conf settings.py src tools train.py"


def test_what_a_folder_holds_is_put_where_into_says_and_without_it_into_a_folder_of_its_name(project: Pod, plan: Plan) -> None:
    walk = "import os\nfor at, _, files in sorted(os.walk('.')):\n    print(at, *sorted(files), end='; ')\n"
    project.put("code/where.py", walk)
    files = (
        Reference(uri="${bucket}/project/conf/"),
        Reference(uri="${bucket}/project/src/", into="."),
        Reference(uri="${bucket}/project/settings.py", into="a/b"),
        Reference(uri="${bucket}/project/conf/base.json", into="."),
    )
    log, _ = fetched(project, of(plan, uri("code/where.py"), files=files))
    assert "spec.dependencies.files[0].uri: what it holds lies in conf/; with into: . it lies beside the script" in log
    assert "spec.dependencies.files[1].uri: what it holds" not in log
    assert printed(project) == (". __init__.py base.json model.py sub.py where.py; ./a; ./a/b settings.py; ./conf base.json;")


def test_history_and_compiled_files_of_a_folder_are_left_out_and_counted(project: Pod, plan: Plan) -> None:
    for name in (".git/HEAD", ".git/objects/00/1", "src/__pycache__/model.cpython-311.pyc", "sub/.svn/entries", "git/.gitignore"):
        project.put(f"project/{name}", "x")
    log, report = fetched(project, of(plan, uri("project/train.py"), files=FILES))
    assert "spec.dependencies.files[0].uri: 4 objects in .git, .hg, .svn, __pycache__ left out" in log
    assert report.objects == len(PROJECT) + 1
    assert (project.workspace / "code/git/.gitignore").exists()
    assert not (project.workspace / "code/.git").exists()


def test_a_folder_of_history_that_is_named_itself_is_taken(project: Pod, plan: Plan) -> None:
    project.put("project/.git/HEAD", "ref")
    fetched(project, of(plan, uri("project/settings.py"), files=(Reference(uri="${bucket}/project/.git/"),)))
    assert (project.workspace / "code/.git/HEAD").read_text() == "ref"


def test_two_objects_of_the_same_content_for_one_place_are_one_file(project: Pod, plan: Plan) -> None:
    project.put("other/train.py", PROJECT["train.py"])
    files = (Reference(uri="${bucket}/project/", into="."),)
    fetched(project, of(plan, uri("other/train.py"), files=files))
    assert printed(project) == 'model 1 {"lr": 1}'


@pytest.mark.parametrize("text", [PROJECT["train.py"].replace("build(), ", "build() ,"), "pass\n"], ids=["of the same size", "of another"])
def test_two_objects_of_different_content_for_one_place_are_refused_with_both_names(project: Pod, plan: Plan, text: str) -> None:
    project.put("other/train.py", text)
    failure, _ = refused(project, of(plan, uri("other/train.py"), files=(Reference(uri="${bucket}/project/", into="."),)))
    assert failure.reason is Reason.INPUT_CONFLICT
    for words in ("spec.script.uri", "other/train.py", "spec.dependencies.files[0].uri", "project/train.py", "'train.py'"):
        assert words in failure.message


def test_addresses_of_s3_are_told_in_the_log_and_in_the_report_and_stay_as_they_are(project: Pod, plan: Plan) -> None:
    project.prefix = "team"
    project.credentials["PREFIX"] = "team"
    project.put("code/train.py", "import sys\nprint(*sys.argv[1:])\n")
    args = ("--train", f"s3://{project.bucket}/team/rows.csv", "--other=s3://another-bucket/x")
    addresses = (Variable(name="DATA", value=f"s3://{project.datasets}/team/a.csv"),)
    log, report = fetched(project, msgspec.structs.replace(plan, args=args, addresses=addresses))
    assert printed(project) == " ".join(args)
    assert [each.reason for each in report.notes] == ["ArgumentHint"] * 3
    for note, words in zip(report.notes, ("write ${bucket}/rows.csv", "'another-bucket'", "write ${datasets}/a.csv"), strict=True):
        assert words in note.message
        assert f"pre-flight: warning: {note.message}" in log


def inline(pod: Pod, text: str) -> Script:
    folder = pod.root / "etc/tftraining/script"
    folder.mkdir(parents=True)
    (folder / "train.py").write_text(text)
    return Script(name="train.py")


def test_an_inline_script_that_the_project_holds_too_is_no_conflict_if_it_is_the_same(project: Pod, plan: Plan) -> None:
    fetched(project, of(plan, inline(project, PROJECT["train.py"]), files=(Reference(uri="${bucket}/project/", into="."),)))
    assert printed(project) == 'model 1 {"lr": 1}'


def test_an_inline_script_that_differs_from_that_of_the_project_in_one_byte_is_refused(project: Pod, plan: Plan) -> None:
    script = inline(project, PROJECT["train.py"].replace("print(", "print ", 1))
    failure, _ = refused(project, of(plan, script, files=(Reference(uri="${bucket}/project/", into="."),)))
    assert failure.reason is Reason.INPUT_CONFLICT
    assert "spec.script.inline and spec.dependencies.files[0].uri" in failure.message


WAYS = {
    "files": {"files": (Reference(uri="${bucket}/project/", into="."),)},
    "archive": {"archive": Reference(uri="${bucket}/project.zip")},
    "wrapped": {"archive": Reference(uri="${bucket}/wrapped.zip")},
    "both": {
        "archive": Reference(uri="${bucket}/half.zip"),
        "files": (Reference(uri="${bucket}/project/conf/"), Reference(uri="${bucket}/project/settings.py")),
    },
}


@pytest.fixture(params=WAYS)
def brought(request: pytest.FixtureRequest, project: Pod, plan: Plan) -> Plan:
    """Return a plan whose dependencies bring the project, each in another way."""
    project.put("project.zip", zipped(PROJECT))
    project.put("wrapped.zip", zipped({f"project-main/{name}": text for name, text in PROJECT.items()}))
    project.put("half.zip", zipped({name: text for name, text in PROJECT.items() if "conf" not in name}))
    return msgspec.structs.replace(plan, **WAYS[request.param])


def test_a_script_is_run_from_its_path_in_what_the_dependencies_bring(project: Pod, brought: Plan) -> None:
    fetched(project, of(brought, Script(name="./tools/run.py", path="./tools/run.py")))
    assert printed(project) == '2 1 {"lr": 1} /workspace/code/tools'


def test_a_module_is_run_with_its_relative_imports_in_the_working_directory(project: Pod, brought: Plan) -> None:
    fetched(project, of(brought, Script(module="src.sub")))
    assert printed(project) == 'model {"lr": 1} /workspace/code src'


@pytest.mark.parametrize("script", [Script(name="lib/run.py", path="lib/run.py"), Script(module="lib.run")], ids=["path", "module"])
def test_the_one_folder_of_an_archive_is_no_wrapping_where_path_or_module_begin_with_it(project: Pod, plan: Plan, script: Script) -> None:
    inner = "print('the one inside')\n"
    project.put("lib.zip", zipped({"lib/run.py": "print(open('lib/a.txt').read())\n", "lib/a.txt": "text", "lib/lib/run.py": inner}))
    fetched(project, of(plan, script, archive=Reference(uri="${bucket}/lib.zip")))
    assert printed(project) == "text"


@pytest.mark.parametrize("script", [Script(name="use.py", path="use.py"), Script(module="use")], ids=["path", "module"])
@pytest.mark.parametrize(
    ("folder", "imports"), [("mylib", "from mylib import core"), ("wrapped", "import core"), ("project-main", "import core")]
)
def test_the_one_folder_of_an_archive_without_the_script_can_be_a_package_or_a_wrapping(
    project: Pod, plan: Plan, script: Script, folder: str, imports: str
) -> None:
    project.put("lib.zip", zipped({f"{folder}/core.py": "X = 7\n"}))
    project.put("mine/use.py", f"{imports}\nprint(core.X)\n")
    files = (Reference(uri="${bucket}/mine/use.py"),)
    fetched(project, of(plan, script, archive=Reference(uri="${bucket}/lib.zip"), files=files))
    assert printed(project) == "7"


def test_a_folder_that_into_puts_in_the_place_of_the_script_is_refused_with_that_field(project: Pod, plan: Plan) -> None:
    files = (Reference(uri="${bucket}/project/conf/", into="train.py"),)
    for script in (uri("project/train.py"), inline(project, "pass\n")):
        failure, log = refused(project, of(plan, script, files=files))
        assert failure.reason is Reason.INPUT_CONFLICT
        assert "name another folder in spec.dependencies.files[0].into" in log


@pytest.mark.parametrize("script", [Script(name="lib/run.py", path="lib/run.py"), Script(module="lib.run")], ids=["path", "module"])
def test_an_archive_that_could_stay_packed_is_unpacked_for_a_script_in_it(project: Pod, plan: Plan, script: Script) -> None:
    project.put("lib.zip", zipped({"lib/__init__.py": "", "lib/run.py": "print(open('lib/__init__.py').read(), 'ran')\n", "top.py": ""}))
    fetched(project, of(plan, script, archive=Reference(uri="${bucket}/lib.zip")))
    assert printed(project) == "ran"


def test_the_relative_imports_of_a_module_are_examined_and_those_of_a_script_by_path_are_refused_with_the_way_out(
    project: Pod, plan: Plan
) -> None:
    project.put("project/src/wants.py", "from . import model\nfrom .sub_settings import X\n")
    files = (Reference(uri="${bucket}/project/", into="."),)
    failure, _ = refused(project, of(plan, Script(module="src.wants"), files=files))
    assert (failure.reason, failure.file, failure.line) == (Reason.IMPORT_MISSING, "src/wants.py", 2)
    assert "'src.sub_settings'" in failure.message
    failure, log = refused(project, of(plan, Script(name="src/wants.py", path="src/wants.py"), files=files))
    assert (failure.reason, failure.line) == (Reason.IMPORT_MISSING, 1)
    assert "spec.script.module" in log


@pytest.mark.parametrize("marked", [True, False], ids=["a package", "a folder without __init__"])
def test_a_module_that_lies_in_a_folder_beside_the_script_is_told_with_into(project: Pod, plan: Plan, marked: bool) -> None:
    if not marked:
        project.server.client.remove_object(project.bucket, "project/src/__init__.py")
    project.put("code/train.py", "from src.model import build\n")
    failure, _ = refused(project, msgspec.structs.replace(plan, files=FILES))
    assert failure.reason is Reason.IMPORT_MISSING
    assert failure.hint.startswith("have what project/ holds lie beside the script, for a folder of spec.dependencies.files by into: .")
    assert "or import project.src" in failure.hint


def test_a_folder_of_data_is_no_module_that_was_meant(project: Pod, plan: Plan) -> None:
    project.put("project/tables/rows.csv", "1,2")
    project.put("code/train.py", "import tables\n")
    failure, _ = refused(project, msgspec.structs.replace(plan, files=FILES))
    assert "project/" not in failure.hint


def test_a_package_is_run_by_its_main_module(project: Pod, plan: Plan) -> None:
    project.put("project/src/__main__.py", "from . import model\nprint(model.build(), __package__)\n")
    fetched(project, of(plan, Script(module="src"), files=(Reference(uri="${bucket}/project/", into="."),)))
    assert printed(project) == "model src"


def test_the_arguments_and_imports_of_a_script_by_path_or_module_are_examined_before_the_start(project: Pod, plan: Plan) -> None:
    text = "import argparse\nimport no_such_module\np = argparse.ArgumentParser()\np.add_argument('--n', type=int)\np.parse_args()\n"
    project.put("project/src/wants.py", text)
    for script in (Script(name="src/wants.py", path="src/wants.py"), Script(module="src.wants")):
        plan = of(plan, script, files=(Reference(uri="${bucket}/project/", into="."),), args=("--n", "many"))
        failure, log = refused(project, plan)
        assert failure.reason is Reason.IMPORT_MISSING
        for words in ("src/wants.py, line 2", "'no_such_module'", "spec.args[1]: --n is 'many', expected int"):
            assert words in log


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        (Script(name="run.py", path="run.py"), Reason.OBJECT_NOT_FOUND, "did you mean project/tools/run.py?"),
        (Script(name="tools/run.py", path="tools/run.py"), Reason.OBJECT_NOT_FOUND, "Write it into spec.script.path; or put"),
        (Script(name="project/tools/Run.py", path="project/tools/Run.py"), Reason.OBJECT_NOT_FOUND, "did you mean project/tools/run.py?"),
        (Script(name="zzz", path="zzz"), Reason.OBJECT_NOT_FOUND, "the dependencies bring project/settings.py, project/train.py"),
        (Script(module="src.sub"), Reason.IMPORT_MISSING, "did you mean project.src.sub? Write it into spec.script.module; or put"),
        (Script(module="project.src.subb"), Reason.IMPORT_MISSING, "did you mean project.src.sub?"),
        (Script(module="project.src"), Reason.IMPORT_MISSING, "it is a package without __main__.py"),
    ],
)  # fmt: skip
def test_what_is_not_among_the_code_is_told_with_what_is_there_instead(
    project: Pod, plan: Plan, script: Script, reason: Reason, words: str
) -> None:
    failure, log = refused(project, of(plan, script, files=FILES))
    assert failure.reason is reason
    assert words in log


def test_a_module_of_the_runtime_can_be_run_and_is_not_examined(project: Pod, plan: Plan) -> None:
    log, _ = fetched(project, of(plan, Script(module="json.tool"), files=FILES, args=("--help",)))
    assert "json.tool is no module of the job's own code, and is not examined" in log
    assert "usage" in printed(project)


def test_a_file_that_archive_and_files_hold_with_other_contents_is_refused_and_with_the_same_is_not(
    project: Pod, plan: Plan, tmp_path: Path
) -> None:
    project.put("project.zip", zipped(PROJECT))
    both = {"archive": Reference(uri="${bucket}/project.zip"), "files": (Reference(uri="${bucket}/project/conf/"),)}
    fetched(project, of(plan, Script(name="train.py", path="train.py"), **both))
    assert printed(project) == 'model 1 {"lr": 1}'
    project.put("project/conf/base.json", '{"lr": 2}')
    another = Pod(tmp_path / "another", project.server, project.bucket, project.datasets)
    failure, _ = refused(another, of(plan, Script(name="train.py", path="train.py"), **both))
    assert failure.reason is Reason.INPUT_CONFLICT
    for words in ("spec.dependencies.archive.uri", "'conf/base.json'", "spec.dependencies.files[0].uri"):
        assert words in failure.message


def test_a_file_where_the_archive_has_a_folder_is_refused(project: Pod, plan: Plan) -> None:
    project.put("project.zip", zipped(PROJECT))
    project.put("conf", "no folder")
    files = (Reference(uri="${bucket}/conf"),)
    plan = of(plan, Script(name="train.py", path="train.py"), archive=Reference(uri="${bucket}/project.zip"), files=files)
    failure, _ = refused(project, plan)
    assert (failure.reason, "'conf'" in failure.message) == (Reason.INPUT_CONFLICT, True)


def test_a_single_file_as_archive_can_be_the_script(project: Pod, plan: Plan) -> None:
    plan = of(plan, Script(module="sub"), archive=Reference(uri="${bucket}/project/settings.py"))
    project.put("one/sub.py", "print(__name__, __package__)\n")
    fetched(project, msgspec.structs.replace(plan, archive=Reference(uri="${bucket}/one/sub.py")))
    assert printed(project) == "__main__"


def test_what_a_later_attempt_runs_is_pinned_by_the_folder_that_brings_it(project: Pod, plan: Plan, tmp_path: Path) -> None:
    plan = of(plan, Script(name="src/model.py", path="src/model.py"), files=(Reference(uri="${bucket}/project/", into="."),))
    _, report = fetched(project, plan)
    assert report.script is None
    assert handover.read(Baseline, project.state / "baseline.json").inline == ""
    again, later = next_attempt(project, tmp_path / "again", plan, report)
    project.put("project/src/model.py", "pass\n")
    failure, _ = refused(again, later)
    assert failure.reason is Reason.CODE_CHANGED
    assert "spec.dependencies.files[0]" in failure.message


def as_the_first_versions_pinned(own_name: str, held: dict[str, str]) -> Pinned:
    """Return what `dependencies.files` was pinned as when a folder lay under its own name and was taken whole."""
    together = hashlib.sha256()
    for path, text in sorted((f"{own_name}/{path}", text) for path, text in held.items()):
        together.update(f"{len(path)}:{path} {hashlib.sha256(text.encode()).hexdigest()}\n".encode())
    return Pinned(uri="", sha256=together.hexdigest())


OTHERS = {".git/HEAD": "ref: main\n", "a/__pycache__/b.pyc": "compiled"}


@pytest.mark.parametrize("others", [{}, OTHERS], ids=["nothing is left out", "a history is left out"])
@pytest.mark.parametrize("script", ["code/train.py", "proj/train.py"], ids=["a folder beside the script", "a folder that holds the script"])
def test_a_job_whose_code_a_first_version_pinned_goes_on_as_it_began(
    pod: Pod, plan: Plan, tmp_path: Path, script: str, others: dict[str, str]
) -> None:
    text = "import proj.lib, os\nprint(sorted(os.listdir('.')), proj.lib.X)\n"
    held = {"lib.py": "X = 1\n", "__init__.py": "", **others} | ({"train.py": text} if script.startswith("proj/") else {})
    pod.put(script, text)
    for path, each in held.items():
        pod.put(f"proj/{path}", each)
    pins = CodePins(
        script=Pinned(uri="", sha256=hashlib.sha256(text.encode()).hexdigest()), files=(as_the_first_versions_pinned("proj", held),)
    )
    files = (Reference(uri="${bucket}/proj/"),)
    plan = msgspec.structs.replace(of(plan, Script(name="train.py", uri="${bucket}/" + script), files=files), attempt=1, pins=pins)
    fetched(pod, plan)
    assert printed(pod) == "['proj', 'train.py'] 1"
    for path, other in (("lib.py", "X = 2\n"), *((each, "other") for each in others)):
        pod.put(f"proj/{path}", other)
        failure, _ = refused(Pod(tmp_path / path.replace("/", "-"), pod.server, pod.bucket, pod.datasets), plan)
        assert failure.reason is Reason.CODE_CHANGED
        assert "spec.dependencies.files[0]" in failure.message
        pod.put(f"proj/{path}", held[path])
