"""Of every rule, the job that its wildcards ask for, built from the study."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

from lenscore.plan import paths
from lenscore.plan.check import StudyCheck
from lenscore.plan.code_versions import CodeVersions
from lenscore.plan.contents import Contents
from lenscore.plan.job import Files, Outputs
from lenscore.plan.rules.ablate_shard import AblateInputs, AblateJob, AblateOutputs
from lenscore.plan.rules.analyse import AnalyseInputs, AnalyseJob, AnalyseOutputs
from lenscore.plan.rules.build_contexts import ContextsInputs, ContextsJob, ContextsOutputs
from lenscore.plan.rules.choose_examples import ExamplesInputs, ExamplesJob, ExamplesOutputs
from lenscore.plan.rules.estimate_study import EstimateInputs, EstimateJob, EstimateOutputs
from lenscore.plan.rules.extract_shard import ExtractInputs, ExtractJob, ExtractOutputs
from lenscore.plan.rules.fetch_dataset import FetchDatasetJob, FetchDatasetOutputs
from lenscore.plan.rules.fetch_model import FetchModelJob, FetchModelOutputs
from lenscore.plan.rules.load_database import LoadInputs, LoadJob, LoadOutputs, StudyModel
from lenscore.plan.rules.reference_means import MeansInputs, MeansJob, MeansOutputs
from lenscore.plan.rules.render_charts import ChartsInputs, ChartsJob, ChartsOutputs
from lenscore.plan.rules.render_report import PageInputs, PageJob, PageOutputs
from lenscore.plan.rules.train_lens import TrainLensInputs, TrainLensJob, TrainLensOutputs
from lenscore.plan.shards import Shards, shard_name
from lenscore.plan.versions import RuleVersions
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.lenses import LENSES
from lenscore.study.models import ModelSpec
from lenscore.study.prompt import read_template, template_path
from lenscore.study.study import Study

Wildcards = Mapping[str, str]
Out = TypeVar("Out", bound=Outputs)

# A context set's fields that concern a model's window: they decide nothing about how contexts are built.
_OF_THE_WINDOW = ("overflow", "cut")


class StudyJobs:
    """The jobs of a study: a method a rule, named like it, which takes the rule's wildcards; and their versions.

    Args:
        study: the config.
        code: versions of the code.
        contents: of the files that sources name.
    """

    def __init__(self, study: Study, code: CodeVersions, contents: Contents):
        self.study = study
        self.shards = Shards(study)
        self.trained = [name for name in study.lenses if LENSES[name].training]
        self.model_of_folder = {spec.folder_name(name, study.seed): name for name, spec in study.models.items()}
        self.needs_means = "mean" in study.ablation.replacements
        self.versions = RuleVersions(code, study.lenses)
        self._contents = contents
        self._template = cache(lambda prompt: read_template(template_path(prompt)))

    def wildcards(self) -> dict[str, list[Wildcards]]:
        """Return the wildcards of every job, by rule, in the order in which the rules run."""
        models, ablations = self.study.models, list(self.shards.of_ablations())
        reference = {(model, name): None for model, name, _ in ablations} if self.needs_means else {}
        once: list[Wildcards] = [{}]
        return {
            "fetch_dataset": [{"dataset": self.study.dataset.name}],
            "fetch_model": [{"model_folder": folder} for folder in self.model_of_folder],
            "estimate_study": once,
            "build_contexts": [{"set": name, "shard": shard_name(shard)} for name, shard in self.shards.of_contexts()],
            "train_lens": [{"model": model, "lens": lens} for model in models for lens in self.trained],
            "extract_shard": [_of_shard(*shard) for shard in self.shards.of_records()],
            "reference_means": [{"model": model, "set": name} for model, name in reference],
            "ablate_shard": [_of_shard(*shard) for shard in ablations],
            **dict.fromkeys(("load_database", "analyse", "choose_examples", "render_charts", "render_report"), once),
        }

    def fetch_model(self, wildcards: Wildcards) -> FetchModelJob:
        """Fetch a model: known by its source, and a ``path:`` model by the content of its files."""
        name = self.model_of_folder[wildcards["model_folder"]]
        source = ModelSpec.model_validate(self.study.models[name].origin)
        return FetchModelJob(
            inputs=Files(),
            outputs=self._outputs("fetch_model", FetchModelOutputs, wildcards),
            model=name,
            source=source,
            contents=self._contents.of_model(source, name),
            seed=self.study.seed if source.weights == "untrained" else None,
        )

    def fetch_dataset(self, wildcards: Wildcards) -> FetchDatasetJob:
        """Fetch the dataset: known by its source, and a file on this machine by its content."""
        return FetchDatasetJob(
            inputs=Files(),
            outputs=self._outputs("fetch_dataset", FetchDatasetOutputs, wildcards),
            source=self.study.dataset,
            contents=self._contents.of_dataset(self.study.dataset),
        )

    def estimate_study(self, wildcards: Wildcards) -> EstimateJob:
        """Estimate what the study will take."""
        return EstimateJob(
            inputs=EstimateInputs(
                questions=self._questions,
                models=self._model_folders,
                hashes=[self._hashes_of_dataset, *(self._hashes_of_model(model) for model in self.study.models)],
            ),
            outputs=self._outputs("estimate_study", EstimateOutputs),
            config=self.study.model_dump(mode="json", exclude={"analysis", "report"}),
        )

    def check(self) -> StudyCheck:
        """Return what the first jobs that read the dataset check it for."""
        lens = self.study.tuned_lens
        return StudyCheck(
            order=self.study.seed,
            n_questions=self.study.questions,
            n_trained_on=lens.questions if self.trained else 0,
            n_held_out=lens.held_out if self.trained else 0,
        )

    def build_contexts(self, wildcards: Wildcards) -> ContextsJob:
        """Build a shard of a context set, without what concerns a model's window."""
        spec = self.study.context_sets[wildcards["set"]]
        first, end = self.shards.questions(int(wildcards["shard"]))
        defaults = {name: ContextSetSpec.model_fields[name].default for name in _OF_THE_WINDOW}
        return ContextsJob(
            inputs=ContextsInputs(questions=self._questions, hashes=[self._hashes_of_dataset]),
            outputs=self._outputs("build_contexts", ContextsOutputs, wildcards),
            context_set=wildcards["set"],
            spec=spec.model_copy(update=defaults),
            template=self._template(spec.prompt),
            order=self.study.seed,
            first=first,
            end=end,
            missing_answer=self.study.missing_answer,
            answer_in_distractors=self.study.answer_in_distractors,
        )

    def train_lens(self, wildcards: Wildcards) -> TrainLensJob:
        """Train a lens of a model."""
        training = LENSES[wildcards["lens"]].training
        assert training is not None, "a wildcard of this rule is a lens that is trained"
        return TrainLensJob(
            inputs=TrainLensInputs(
                model=self._model_folder(wildcards["model"]),
                questions=self._questions,
                hashes=[self._hashes_of_model(wildcards["model"]), self._hashes_of_dataset],
            ),
            outputs=self._outputs("train_lens", TrainLensOutputs, wildcards),
            training=training,
            settings=self.study.tuned_lens,
            order=self.study.seed,
            dtype=self.study.models[wildcards["model"]].dtype,
            device=self.study.extraction.device,
        )

    def extract_shard(self, wildcards: Wildcards) -> ExtractJob:
        """Extract a shard of contexts by a model, through all lenses of the study."""
        lenses = [self._lens(wildcards["model"], name) for name in self.trained]
        return ExtractJob(
            inputs=ExtractInputs(
                model=self._model_folder(wildcards["model"]),
                contexts=self._contexts(wildcards).contexts,
                lenses=[lens.lens for lens in lenses],
                lens_manifests=[lens.manifest for lens in lenses],
                hashes=[
                    self._hashes_of_model(wildcards["model"]),
                    self._contexts(wildcards).hashes,
                    *(lens.hashes for lens in lenses),
                ],
            ),
            outputs=self._outputs("extract_shard", ExtractOutputs, wildcards),
            model=wildcards["model"],
            context_set=wildcards["set"],
            shard=int(wildcards["shard"]),
            settings=self.study.run_settings(wildcards["model"], wildcards["set"]),
            extraction=self.study.extraction,
            lenses={name: LENSES[name].module for name in self.study.lenses},
            trained=self.trained,
            cache=Path(paths.RECORD_CACHE),
        )

    def reference_means(self, wildcards: Wildcards) -> MeansJob:
        """Take the means that replace blocks' contributions in a context set."""
        shards = [{**wildcards, "shard": shard_name(shard)} for shard in self.shards.of_reference()]
        return MeansJob(
            inputs=MeansInputs(
                model=self._model_folder(wildcards["model"]),
                contexts=[self._contexts(shard).contexts for shard in shards],
                hashes=[
                    self._hashes_of_model(wildcards["model"]),
                    *(self._contexts(shard).hashes for shard in shards),
                ],
            ),
            outputs=self._outputs("reference_means", MeansOutputs, wildcards),
            settings=self.study.run_settings(wildcards["model"], wildcards["set"]),
            device=self.study.extraction.device,
            n_questions=min(self.study.ablation.reference, self.study.questions),
            documents=self.shards.ablated_documents(wildcards["set"]),
        )

    def ablate_shard(self, wildcards: Wildcards) -> AblateJob:
        """Ablate the blocks of a model in the contexts of a shard's first questions."""
        ablation = self.study.ablation
        means = [self._outputs("reference_means", MeansOutputs, wildcards)] if self.needs_means else []
        return AblateJob(
            inputs=AblateInputs(
                model=self._model_folder(wildcards["model"]),
                contexts=self._contexts(wildcards).contexts,
                means=[of_set.means for of_set in means],
                hashes=[
                    self._hashes_of_model(wildcards["model"]),
                    self._contexts(wildcards).hashes,
                    *(of_set.hashes for of_set in means),
                ],
            ),
            outputs=self._outputs("ablate_shard", AblateOutputs, wildcards),
            model=wildcards["model"],
            context_set=wildcards["set"],
            shard=int(wildcards["shard"]),
            settings=self.study.run_settings(wildcards["model"], wildcards["set"]),
            device=self.study.extraction.device,
            n_questions=self.shards.ablated_questions(int(wildcards["shard"])),
            documents=self.shards.ablated_documents(wildcards["set"]),
            replacements=ablation.replacements,
            scopes=ablation.scopes,
        )

    def load_database(self, wildcards: Wildcards) -> LoadJob:
        """Load all shards."""
        models, context_shards = self.study.models, list(self.shards.of_contexts())
        record_shards, ablation_shards = list(self.shards.of_records()), list(self.shards.of_ablations())
        contexts = [self._contexts({"set": name, "shard": shard_name(shard)}) for name, shard in context_shards]
        records = [self._outputs("extract_shard", ExtractOutputs, _of_shard(*shard)) for shard in record_shards]
        ablations = [self._outputs("ablate_shard", AblateOutputs, _of_shard(*shard)) for shard in ablation_shards]
        divergences = [(model, lens) for model in models for lens in self.trained]
        lenses = [self._lens(model, lens) for model, lens in divergences]
        return LoadJob(
            inputs=LoadInputs(
                questions=self._questions,
                dataset=Path(paths.DATASET.format(dataset=self.study.dataset.name)),
                models=self._model_folders,
                contexts=[shard.contexts for shard in contexts],
                left_out=[shard.left_out for shard in contexts],
                answers_in_distractors=[shard.answers_in_distractors for shard in contexts],
                records=[shard.records for shard in records],
                answer_tokens=[shard.answer_tokens for shard in records],
                fits=[shard.fits for shard in records],
                divergences=[lens.divergence for lens in lenses],
                lens_manifests=[lens.manifest for lens in lenses],
                ablations=[shard.ablations for shard in ablations],
                hashes=[
                    self._hashes_of_dataset,
                    *(self._hashes_of_model(model) for model in models),
                    *(made.hashes for made in [*contexts, *records, *lenses, *ablations]),
                ],
            ),
            outputs=self._outputs("load_database", LoadOutputs),
            study=self.study.study,
            config=self.study.model_dump(mode="json", exclude={"analysis", "report"}),
            models=[StudyModel(name=name, dtype=spec.dtype, matmul=spec.matmul) for name, spec in models.items()],
            lenses=self.study.lenses,
            divergences=divergences,
            context_shards=context_shards,
            record_shards=record_shards,
            ablation_shards=ablation_shards,
            scopes=self.study.ablation.scopes,
            replacements=self.study.ablation.replacements,
            extraction_code=self.versions.extraction_code,
        )

    def analyse(self, wildcards: Wildcards) -> AnalyseJob:
        """Make the tables."""
        return AnalyseJob(
            inputs=AnalyseInputs(database=self._database.database, hashes=[self._database.hashes]),
            outputs=self._outputs("analyse", AnalyseOutputs),
            settings=self.study.statistics,
        )

    def choose_examples(self, wildcards: Wildcards) -> ExamplesJob:
        """Choose the explorer's contexts."""
        return ExamplesJob(
            inputs=ExamplesInputs(database=self._database.database, hashes=[self._database.hashes]),
            outputs=self._outputs("choose_examples", ExamplesOutputs),
            per_cell=self.study.report.examples,
        )

    def render_charts(self, wildcards: Wildcards) -> ChartsJob:
        """Draw all charts."""
        return ChartsJob(
            inputs=ChartsInputs(tables=self._tables, hashes=self._hashes_of_tables),
            outputs=self._outputs("render_charts", ChartsOutputs),
        )

    def render_report(self, wildcards: Wildcards) -> PageJob:
        """Render the page, which shows the whole config."""
        charts = self._outputs("render_charts", ChartsOutputs)
        return PageJob(
            inputs=PageInputs(
                database=self._database.database,
                tables=self._tables,
                findings=self._outputs("analyse", AnalyseOutputs).findings,
                charts=charts.charts,
                hashes=[self._database.hashes, *self._hashes_of_tables, charts.hashes],
            ),
            outputs=self._outputs("render_report", PageOutputs),
            config=self.study.model_dump(mode="json"),
            benchmarks=self._benchmarks(),
        )

    def _outputs(self, rule: str, outputs: type[Out], wildcards: Wildcards | None = None) -> Out:
        values = {"study": self.study.study, **(wildcards or {})}
        return outputs.model_validate({name: _filled(path, values) for name, path in paths.OUTPUTS[rule].items()})

    def _folder_name(self, model: str) -> str:
        return self.study.models[model].folder_name(model, self.study.seed)

    def _model_folder(self, model: str) -> Path:
        return Path(paths.MODEL.format(model_folder=self._folder_name(model)))

    @property
    def _model_folders(self) -> list[Path]:
        return [self._model_folder(model) for model in self.study.models]

    @property
    def _questions(self) -> Path:
        return Path(paths.QUESTIONS.format(dataset=self.study.dataset.name))

    @property
    def _database(self) -> LoadOutputs:
        return self._outputs("load_database", LoadOutputs)

    @property
    def _tables(self) -> list[Path]:
        return [
            *self._outputs("analyse", AnalyseOutputs).parquet,
            self._outputs("choose_examples", ExamplesOutputs).parquet,
        ]

    @property
    def _hashes_of_tables(self) -> list[Path]:
        return [
            self._outputs("analyse", AnalyseOutputs).hashes,
            self._outputs("choose_examples", ExamplesOutputs).hashes,
        ]

    @property
    def _hashes_of_dataset(self) -> Path:
        return Path(paths.hashes("fetch_dataset").format(dataset=self.study.dataset.name))

    def _hashes_of_model(self, model: str) -> Path:
        return Path(paths.hashes("fetch_model").format(model_folder=self._folder_name(model)))

    def _contexts(self, wildcards: Wildcards) -> ContextsOutputs:
        return self._outputs("build_contexts", ContextsOutputs, wildcards)

    def _lens(self, model: str, lens: str) -> TrainLensOutputs:
        return self._outputs("train_lens", TrainLensOutputs, {"model": model, "lens": lens})

    def _benchmarks(self) -> dict[str, list[Path]]:
        """Return, by rule, the benchmark files of the study's jobs; the page is made from them, and has none yet."""
        return {
            rule: [Path(paths.benchmark(rule).format(study=self.study.study, **wildcards)) for wildcards in of_rule]
            for rule, of_rule in self.wildcards().items()
            if rule != "render_report"
        }


def _of_shard(model: str, context_set: str, shard: int) -> Wildcards:
    return {"model": model, "set": context_set, "shard": shard_name(shard)}


def _filled(path: str | list[str], values: Wildcards) -> str | list[str]:
    return [part.format(**values) for part in path] if isinstance(path, list) else path.format(**values)
