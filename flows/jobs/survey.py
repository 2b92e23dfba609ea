"""The survey: the chapter's items 52 to 54 with its own numbers, on this host and the running interpreter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from db.rows import NewRun
from flows.jobs.encrypt import encrypt_batches, planned_work
from flows.jobs.experiment import ExperimentRequest, book_rounds, planned_samples, run_rounds
from flows.jobs.parameters import EncryptPayloads, RunExperiments, Survey
from flows.jobs.plan import Plan, make_plan
from flows.jobs.request import EncryptionRequest, encryption_request
from flows.jobs.run import Job, OpenRun, Tools, open_run
from flows.settings import Settings
from tasks.cancel import CancelToken
from tasks.threads.cases import QUICK_ROUNDS, RoundPlan

# Item 52: three chains over 100 random bytes each.
_ITEM_52 = EncryptPayloads(size_bytes=100, count=3, suites=("classic", "modern"))
_ITEMS_53_AND_54 = RunExperiments(rounds=QUICK_ROUNDS)


@dataclass(frozen=True, slots=True)
class SurveyRequest:
    """Item 52's payloads under the book's suite and the modern one, then items 53 and 54."""

    encryption: EncryptionRequest
    experiments: ExperimentRequest


def survey_job(parameters: Survey, settings: Settings) -> Job:
    """The chapter, with the settings of this process."""
    del parameters
    request = SurveyRequest(
        encryption_request(_ITEM_52, settings), ExperimentRequest(settings.measuring_lock, _ITEMS_53_AND_54)
    )
    return partial(survey, request)


def survey(request: SurveyRequest, run: NewRun, tools: Tools) -> OpenRun:
    """Run the chapter; the run, closed.

    Raises:
        ExperimentError: somebody else measures on this host and does not end.
        RecordError: the record cannot be written.
    """
    plan, rounds = tools.runner.plan(lambda: _plans(request, tools.cancel))
    parameters = dict(request.encryption.recorded) | {"rounds": len(rounds.rounds)}
    tools.reporter.planned(planned_work(plan))
    with open_run(replace(run, parameters=parameters), tools) as opened:
        opened.outcomes.append(encrypt_batches(plan, opened))
        tools.reporter.planned(planned_samples(rounds))
        opened.outcomes.append(run_rounds(rounds, request.experiments, opened))
    return opened


def _plans(request: SurveyRequest, cancel: CancelToken) -> tuple[Plan, RoundPlan]:
    return make_plan(request.encryption, cancel), book_rounds(
        request.experiments.parameters.rounds or QUICK_ROUNDS, cancel
    )
