"""What a user of python-gitlab does, against a server of this program: URL, TOKEN and the directory WORK come in the environment.
Ends with an AssertionError where an answer is not GitLab's, else prints `all of it works`."""

import io
import os
import pathlib
import subprocess
import time
import zipfile

import gitlab

URL, TOKEN, WORK = os.environ["URL"], os.environ["TOKEN"], pathlib.Path(os.environ["WORK"])
PATIENCE = 120

CONFIG = """
stages: [build, test, deploy]
build:
  stage: build
  script:
    - echo "colour $COLOUR"
    - echo "secret $SECRET"
    - cat "$SETTINGS"
    - mkdir -p out && echo "made from $CI_COMMIT_BRANCH" > out/result.txt
  artifacts: {paths: [out]}
flaky:
  stage: test
  script:
    - test "$FIXED" = yes
  allow_failure: true
hold:
  stage: test
  rules: [{if: $LONG}]
  script: [sleep 600]
ship:
  stage: deploy
  when: manual
  environment: {name: production, url: "https://example.com"}
  script: [echo shipped]
"""


def git(*arguments):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    who = ["-c", "user.name=T", "-c", "user.email=t@example.com"]
    subprocess.run(["git", *who, *arguments], cwd=WORK, env=environment, check=True, capture_output=True)


def until(what, found):
    """Waits until `found` gives something."""
    deadline = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)
    return value


def refused(status, call, *arguments, **keywords):
    try:
        call(*arguments, **keywords)
    except gitlab.GitlabError as error:
        assert error.response_code == status, error
        return error
    raise AssertionError(f"no {status}")


def ends(project, number):
    done = ("success", "failed", "canceled", "skipped", "manual")

    def look():
        pipeline = project.pipelines.get(number)
        return pipeline if pipeline.status in done else None

    return until(f"pipeline {number} ends", look)


gl = gitlab.Gitlab(URL, private_token=TOKEN)
gl.auth()
assert gl.user.username == "root"
assert gl.version()[0] != "unknown"
refused(401, gitlab.Gitlab(URL, private_token="glpat-wrong").auth)

# A project and its variables.
project = gl.projects.create({"name": "Kestrel", "description": "a bird", "visibility": "internal"})
assert project.path_with_namespace == "root/kestrel", project
assert refused(400, gl.projects.create, {"name": "Kestrel"}).error_message["path"] == ["has already been taken"]
refused(404, gl.projects.get, "root/none")
project = gl.projects.get("root/kestrel")
project.description = "a small falcon"
project.save()
assert gl.projects.get(project.id).description == "a small falcon"
assert [one.id for one in gl.projects.list(search="kest", iterator=True)] == [project.id]
project.variables.create({"key": "COLOUR", "value": "red"})
project.variables.create({"key": "SECRET", "value": "do-not-show-this", "masked": True})
project.variables.create({"key": "SETTINGS", "value": "a file's content\n", "variable_type": "file"})
project.variables.create({"key": "COLOUR", "value": "blue", "environment_scope": "review/*"})
refused(400, project.variables.create, {"key": "SHORT", "value": "abc", "masked": True})
assert project.variables.get("COLOUR", filter={"environment_scope": "review/*"}).value == "blue"
project.variables.delete("COLOUR", filter={"environment_scope": "review/*"})
variable = project.variables.get("COLOUR")
variable.value = "green"
variable.save()
assert {one.key: one.value for one in project.variables.list(get_all=True)}["COLOUR"] == "green"
instance = gl.variables.create({"key": "EVERYWHERE", "value": "1"})
instance.delete()

# Pushed by git, which makes a pipeline.
git("init", "-q", "-b", "main")
(WORK / ".gitlab-ci.yml").write_text(CONFIG)
git("add", ".")
git("commit", "-q", "-m", "First\n\nWith a body")
git("push", "-q", project.http_url_to_repo.replace("://", f"://root:{TOKEN}@"), "main")
assert [one.name for one in project.branches.list()] == ["main"]
commit = project.commits.list(ref_name="main", get_all=False)[0]
assert commit.title == "First" and project.commits.get("main").id == commit.id
pushed = until("the push's pipeline", lambda: project.pipelines.list(source="push", get_all=False))[0]
assert (pushed.sha, pushed.ref) == (commit.id, "main")
assert ends(project, pushed.id).status == "success"

# Made by the API, with a variable; waited for; logs and artifacts read.
made = project.pipelines.create({"ref": "main", "variables": [{"key": "FIXED", "value": "yes"}]})
assert [one.key for one in made.variables.list()] == ["FIXED"]
assert ends(project, made.id).status == "success"
jobs = {job.name: job for job in made.jobs.list(get_all=True)}
assert sorted(jobs) == ["build", "flaky", "ship"], jobs
build = project.jobs.get(jobs["build"].id)
trace = build.trace().decode()
assert "colour green" in trace and "a file's content" in trace, trace
assert "do-not-show-this" not in trace and "secret [MASKED]" in trace, trace
names = zipfile.ZipFile(io.BytesIO(build.artifacts())).namelist()
assert "out/result.txt" in names, names
assert build.artifact("out/result.txt") == b"made from main\n"
assert project.artifacts.raw("main", "out/result.txt", "build") == b"made from main\n"
assert project.artifacts.download("main", "build")[:2] == b"PK"
assert [one.id for one in project.jobs.list(scope=["manual"], get_all=True)][0] == jobs["ship"].id
assert project.pipelines.latest(ref="main").id == made.id

# Played, retried.
project.jobs.get(jobs["ship"].id).play()
until("ship ends", lambda: project.jobs.get(jobs["ship"].id).status == "success")
assert [one.name for one in project.environments.list()] == ["production"]
production = project.environments.get(project.environments.list(name="production")[0].id)
assert (production.state, production.external_url) == ("available", "https://example.com")
assert production.last_deployment["deployable"]["id"] == jobs["ship"].id
deployment = project.deployments.list(environment="production", status="success", order_by="id", sort="desc", get_all=False)[0]
assert project.deployments.get(deployment.id).ref == "main" and deployment.user["username"] == "root"
production.stop()
assert project.environments.get(production.id).state == "stopped"
production.delete()
made_by_hand = project.environments.create({"name": "review/1", "external_url": "https://one.example"})
made_by_hand.external_url = "https://two.example"
made_by_hand.save()
assert project.environments.get(made_by_hand.id).external_url == "https://two.example"
refused(403, made_by_hand.delete)
again = build.retry()
assert again["id"] != build.id
until("build ends again", lambda: project.jobs.get(again["id"]).status == "success")
flaky = next(job for job in pushed.jobs.list(get_all=True) if job.name == "flaky")
assert flaky.status == "failed" and flaky.allow_failure
assert project.jobs.get(flaky.id).failure_reason == "script_failure"
pushed.retry()
until("flaky was tried again", lambda: any(
    job.name == "flaky" and job.id != flaky.id and job.status == "failed" for job in pushed.jobs.list(get_all=True)
))
tries = [job for job in pushed.jobs.list(include_retried=True, get_all=True) if job.name == "flaky"]
assert len(tries) == 2, tries

# Cancelled while it runs.
long = project.pipelines.create({"ref": "main", "variables": [{"key": "LONG", "value": "1"}]})
hold = until("hold runs", lambda: [job for job in long.jobs.list(get_all=True) if job.name == "hold" and job.status == "running"])
long.cancel()
assert ends(project, long.id).status == "canceled"
assert project.jobs.get(hold[0].id).status == "canceled"

# A trigger, a schedule, the check of a configuration, runners, people.
trigger = project.triggers.create({"description": "from a script"})
triggered = project.trigger_pipeline("main", trigger.token, {"FIXED": "yes"})
assert triggered.source == "trigger" or project.pipelines.get(triggered.id).source == "trigger"
assert ends(project, triggered.id).status == "success"
schedule = project.pipelineschedules.create({"ref": "main", "description": "nightly", "cron": "0 3 * * *"})
schedule.variables.create({"key": "FIXED", "value": "yes"})
schedule.play()
nightly = until("the schedule's pipeline", lambda: project.pipelines.list(source="schedule", get_all=False))[0]
assert ends(project, nightly.id).status == "success"
# Its answer has replaced what the object knew.
schedule = project.pipelineschedules.list(get_all=True)[0]
schedule.take_ownership()
schedule.active = False
schedule.save()
assert project.pipelineschedules.get(schedule.id).next_run_at is None
assert project.ci_lint.create({"content": "a: {script: x}"}).valid
assert project.ci_lint.get().valid
assert not project.ci_lint.create({"content": "a: {script: x, stage: nowhere}"}).valid
runner = gl.runners.list(get_all=True)[0]
assert gl.runners.get(runner.id).online and gl.runners.get(runner.id).jobs.list(get_all=False)
own = gl.user.runners.create({"runner_type": "project_type", "project_id": project.id, "tag_list": "a, b"})
assert own.token.startswith("glrt-")
assert own.id in [one.id for one in project.runners.list(get_all=True)]
assert gl.runners.get(own.id).tag_list == ["a", "b"]
gl.runners.delete(own.id)
ann = gl.users.create({"username": "ann", "name": "Ann", "email": "ann@example.com", "password": "correct horse"})
member = project.members.create({"user_id": ann.id, "access_level": gitlab.const.AccessLevel.REPORTER})
hers = ann.personal_access_tokens.create({"name": "ci", "scopes": ["api"]})
reader = gitlab.Gitlab(URL, private_token=hers.token)
refused(403, reader.projects.get(project.id).pipelines.create, {"ref": "main"})
member.access_level = gitlab.const.AccessLevel.DEVELOPER
member.save()
assert project.members.get(ann.id).access_level == 30
gl.personal_access_tokens.delete(hers.id)
refused(401, reader.projects.get, project.id)

# Refs and files of the repository; rules that protect refs.
assert sorted(one["path"] for one in project.repository_tree(get_all=True)) == [".gitlab-ci.yml"]
assert project.files.get(".gitlab-ci.yml", ref="main").decode().decode() == CONFIG
assert project.files.raw(".gitlab-ci.yml", ref="main").decode() == CONFIG
assert project.repository_archive(format="zip")[:2] == b"PK"
branch = project.branches.create({"branch": "release/1", "ref": "main"})
assert not project.branches.get("release/1").protected
rule = project.protectedbranches.create({"name": "release/*", "push_access_level": 0, "merge_access_level": 40})
assert project.branches.get("release/1").protected
assert {one.name for one in project.protectedbranches.list(get_all=True)} == {"main", "release/*"}
rule.delete()
branch.delete()
tag = project.tags.create({"tag_name": "v1", "ref": "main", "message": "One"})
assert project.tags.get("v1").message == "One"
project.protectedtags.create({"name": "v*", "create_access_level": 40})
assert project.tags.get("v1").protected
assert project.repository_compare("v1", "main")["commits"] == []
assert [one["new_path"] for one in commit.diff(get_all=True)] == [".gitlab-ci.yml"]
assert {one["name"] for one in commit.refs("all", get_all=True)} == {"main", "v1"}
commit.statuses.create({"state": "success", "name": "scan"})
assert "scan" in {one.name for one in commit.statuses.list(get_all=True)}
assert project.commits.get("main").last_pipeline["id"]

# A merge request and its pipelines.
branch = project.branches.create({"branch": "topic", "ref": "main"})
request = project.mergerequests.create({"source_branch": "topic", "target_branch": "main", "title": "A topic", "labels": ["x"]})
assert [one.iid for one in project.mergerequests.list(state="opened", get_all=True)] == [request.iid]
assert project.mergerequests.get(request.iid).labels == ["x"] and request.pipelines.list(get_all=True) == []
refused(400, request.pipelines.create)
request.title = "Draft: a topic"
request.save()
request.state_event = "close"
request.save()
assert project.mergerequests.get(request.iid).state == "closed" and project.mergerequests.get(request.iid).draft
request.delete()
branch.delete()

# Tokens of the project, and tokens that take each other's place.
bot = project.access_tokens.create({"name": "bot", "scopes": ["api"], "access_level": 30, "expires_at": "2999-01-01"})
as_bot = gitlab.Gitlab(URL, private_token=bot.token)
as_bot.auth()
assert as_bot.user.bot and [one.id for one in as_bot.projects.list(membership=True, get_all=True)] == [project.id]
refused(403, as_bot.projects.get(project.id).variables.list)
bot.rotate()
refused(401, as_bot.auth)
as_bot = gitlab.Gitlab(URL, private_token=bot.token)
own = as_bot.personal_access_tokens.get("self")
assert own.name == "bot"
own.rotate(self_rotate=True)
refused(401, as_bot.auth)

# By cursor, to the end.
jobs = list(project.jobs.list(iterator=True, per_page=2, pagination="keyset", order_by="id"))
assert len(jobs) == len({one.id for one in jobs}) > 8, jobs
assert [one.id for one in gl.projects.list(iterator=True, pagination="keyset", order_by="id", per_page=1)] == [project.id]
assert gl.namespaces.get("root").kind == "user" and gl.groups.list(get_all=True) == []
assert len(schedule.pipelines.list(get_all=True)) == 1

# Lists in pages, to their end.
everything = list(project.pipelines.list(per_page=2, iterator=True))
# Five that were started, and those of the two branches and the tag.
assert len(everything) == 8 == len({one.id for one in everything}), everything
assert project.pipelines.list(per_page=2, iterator=True).total == 8

# Removed.
project.jobs.get(again["id"]).erase()
project.pipelines.get(long.id).delete()
refused(404, project.pipelines.get, long.id)
project.delete()
refused(404, gl.projects.get, "root/kestrel")
print("all of it works")
