"""The schema of params.yaml: every parameter, its type and its range."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ebcore.errors import InputError

Positive = Annotated[int, Field(ge=1)]
Channels = tuple[float, float, float]  # of R, G, B, 0..1
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
TrainingStage = Literal["train_real", "train_one", "train_experts", "train_binary"]
TRAINING_STAGES: tuple[TrainingStage, ...] = get_args(TrainingStage)


# Names that become paths: DVC empties an output's path before the stage that writes it runs.
PathName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class DataParams(_Section):
    """Which images, and how a network sees them."""

    name: str
    fetch: list[PathName]  # sources the pipeline writes itself; [] for a folder of the user's
    folder: str
    loader: Literal["ffcv", "folder"] = "ffcv"
    image_size: Annotated[int, Field(ge=4)]  # px, side of the network's input
    resize: Annotated[int, Field(ge=4)] | None = None  # px, shorter side before validation's crop
    crop: Literal["none", "pad", "resized"] = "none"
    pad: Annotated[int, Field(ge=0)] = 0  # px, for crop: pad
    scale: tuple[float, float] = (0.08, 1.0)  # share of the area, for crop: resized
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width / height, for crop: resized
    flip: bool = False
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0  # degrees, largest turn either way
    mean: Channels | None = None  # taken off; None: the training images'
    std: Channels | None = None  # then divided by; None: the training images'

    @model_validator(mode="after")
    def _ordered(self) -> DataParams:
        if self.resize is not None and self.resize < self.image_size:
            raise ValueError("resize must be at least image_size")
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if not 0 < low <= high:
                raise ValueError(f"{name} must hold two numbers with 0 < first <= second")
        if min(self.std or (1.0,)) <= 0:
            raise ValueError("std must be above 0")
        if self.pad and self.crop != "pad":
            warnings.warn("data.pad is ignored without crop: pad", stacklevel=2)
        if self.crop != "resized" and {"scale", "ratio"} & self.model_fields_set:
            warnings.warn("data.scale and ratio are ignored without crop: resized", stacklevel=2)
        return self


class PrepareParams(_Section):
    """How .beton files are written."""

    max_size: Annotated[int, Field(ge=4)] | None = None  # px, longer side; None keeps
    quality: Annotated[int, Field(ge=1, le=100)] = 90
    jpeg_fraction: Fraction = 1.0  # 0 stores raw pixels, 1 stores JPEG
    page_size: Annotated[int, Field(ge=1 << 21, lt=1 << 32)] = 1 << 21  # bytes, FFCV's range
    on_corrupt: Literal["error", "skip"] = "error"

    @field_validator("page_size")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("must be a power of two")
        return value


_STRUCTURE = r"[1-9]{4}-\d+(\.\d+)?-\d+(:\d+){3}"
_NAMES = "(bnn|xnor|double-skip|bi-real|strong-baseline|real-to-binary|ftbnn)-18"  # models.named
SpecName = Annotated[str, Field(pattern=f"^({_STRUCTURE}|{_NAMES})$")]


Shortcut = Literal["plain", "binary", "grouped", "concat", "linear", "relu", "prelu"]


class ModelOptions(_Section):
    """What `ebcore.models.resnet` takes beside a structure's name. None is what the name says."""

    stem: Literal["efficient", "basic", "small", "half"] | None = None
    stem_width: Positive = 64
    width: Positive = 64
    shortcut: Shortcut | None = None
    shortcut_ratio: Annotated[float, Field(ge=1)] | None = None
    pointwise: bool | None = None
    shuffle: bool | None = None
    se: bool | None = None
    layout: Literal["expert", "bi-real", "xnor", "bnn", "real"] | None = None
    activation: Literal["none", "relu", "prelu", "two_slope_prelu", "shifted_prelu"] | None = None
    activation_position: Literal["before", "after", "both"] | None = None
    se_ratio: Positive = 8
    gate: Literal["softmax", "sigmoid"] = "softmax"
    temperature: Annotated[float, Field(gt=0)] = 1.0


class ModelParams(ModelOptions):
    """The network's structure; see `ebcore.models.resnet`."""

    spec: SpecName


class StructureParams(ModelParams):
    """One structure of the growth study: keys of the model section, which it overrides, and two."""

    series: Annotated[str, Field(min_length=1)]  # points of one series share a colour
    experts: Annotated[int, Field(ge=1, le=64)] = 1  # more: step 1, replication, step 3

    @property
    def overrides(self) -> dict[str, Any]:
        """What it sets of the model section."""
        return self.model_dump(include=set(ModelParams.model_fields), exclude_unset=True)


class GrowthParams(_Section):
    """The growth study (section 4.3); see `ebcore.growth`."""

    structures: dict[PathName, StructureParams]


class DistillParams(_Section):
    """What a teacher adds to a step's loss; see `ebcore.train.distill`."""

    attention: Annotated[float, Field(ge=0)] = 0.0  # weight of attention matching
    points: list[Annotated[int, Field(ge=0, le=3)]] = [1, 2, 3]  # stages whose outputs it compares
    logits: Annotated[float, Field(ge=0)] = 0.0  # weight of logit matching
    temperature: Annotated[float, Field(gt=0)] = 1.0  # of logit matching

    @model_validator(mode="after")
    def _useful(self) -> DistillParams:
        if not self.attention and not self.logits:
            raise ValueError("attention and logits are both 0; remove distill or raise one")
        if self.attention and not self.points:
            raise ValueError("attention needs at least one of the points 0 to 3")
        return self


class TrainParams(_Section):
    """One training step of the paper's policy (section 4.1, section 5)."""

    epochs: Positive
    batch_size: Positive  # images over all workers
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    schedule: Literal["step", "cosine"] = "step"
    milestones: list[Positive] = []  # epochs, for schedule: step
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0  # alpha of the Beta distribution; 0 is off
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0  # decay of averaged weights per step; 0 is off
    distill: DistillParams | None = None

    @model_validator(mode="after")
    def _milestones(self) -> TrainParams:
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError("milestones must increase")
        if self.schedule == "cosine" and self.milestones:
            raise ValueError("milestones belong to schedule: step; remove them for cosine")
        if self.warmup_epochs >= self.epochs:
            raise ValueError("warmup_epochs must be fewer than epochs")
        if late := [milestone for milestone in self.milestones if milestone >= self.epochs]:
            warnings.warn(f"milestones {late} lie behind the last epoch", stacklevel=2)
        return self


class UntaughtParams(TrainParams):
    """A training from labels alone."""

    @field_validator("distill")
    @classmethod
    def _untaught(cls, value: DistillParams | None) -> DistillParams | None:
        if value is not None:
            raise ValueError("the teacher has no teacher, nor have the other methods")
        return value


class TeacherParams(UntaughtParams):
    """Training of the real-valued teacher (A.5, step I)."""

    spec: SpecName | None = (
        None  # a deeper one is the paper's stronger teacher; None: the student's
    )


def _distinct(value: list[Any]) -> list[Any]:
    if len(set(value)) != len(value):
        raise ValueError("holds a value twice")
    return value


Distinct = AfterValidator(_distinct)
Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Distinct]


class PartitionParams(_Section):
    """Which layers keep real inputs; see `ebcore.methods.partition.PartitionOptions`."""

    gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    unit: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e6  # operations that count as 1
    normalise: Literal["none", "max", "mean", "sum"] = "none"
    share: Annotated[float, Field(gt=0, le=1)] = 0.3  # R, of the layers
    union: Positive = 1
    layers: Annotated[list[Annotated[int, Field(ge=2)]], Distinct] = []  # an explicit choice
    images: Positive = 512  # of the training set, that the error is a mean over


_IMAGE_SIZES = {"alexnet": 224, "sketchanet": 225}  # px, where a layer's size hangs on it


class HybridNetworkParams(_Section):
    """The network; see `ebcore.models.architectures.HYBRID`. None is its function's default."""

    architecture: Literal["alexnet", "sketchanet", "hybrid-resnet-18", "squeezenet"]
    width: Annotated[int | float, Field(gt=0)] | None = None  # channels (ResNet), else a factor
    stem: Literal["basic", "half", "small"] | None = None
    image_size: Positive | None = None
    binary_last: bool | None = None

    @model_validator(mode="after")
    def _fits_the_architecture(self) -> HybridNetworkParams:
        if self.architecture == "hybrid-resnet-18" and not isinstance(self.width, int | None):
            raise ValueError("hybrid-resnet-18's width is its first stage's channels, whole")
        if self.architecture != "hybrid-resnet-18" and self.stem not in (None, "small"):
            raise ValueError(f"{self.architecture} has no stem {self.stem!r}: use 'small'")
        if self.image_size is not None and self.architecture not in _IMAGE_SIZES:
            raise ValueError(f"{self.architecture} has no image_size")
        return self

    @property
    def side(self) -> int | None:
        """px of the images that it is built for; None for any."""
        return self.image_size or _IMAGE_SIZES.get(self.architecture)

    @property
    def settings(self) -> dict[str, Any]:
        """What it sets, and "architecture"."""
        return self.model_dump(exclude_none=True)


class HybridParams(_Section):
    """Hybrid Binary Networks; see `ebcore.methods.hybrid`. Without seeds nothing of it runs."""

    seeds: Seeds
    versions: Annotated[
        list[Literal["fprec", "wbin"]], Distinct
    ]  # trained beside fbin and hybrid, to compare with
    network: HybridNetworkParams
    partition: PartitionParams = PartitionParams()
    train: UntaughtParams  # the same for every version


class VariantParams(ModelOptions):
    """One variant of FTBNN's network: keys of ftbnn.model, which it overrides, and one."""

    spec: SpecName | None = None
    series: Annotated[str, Field(min_length=1)]  # which of the paper's claims it belongs to

    @property
    def overrides(self) -> dict[str, Any]:
        """What it sets of the model; null is a value there, but for spec."""
        given = self.model_dump(include=set(ModelParams.model_fields), exclude_unset=True)
        return {key: value for key, value in given.items() if (key, value) != ("spec", None)}


class FtbnnParams(_Section):
    """FTBNN; see `ebcore.methods.ftbnn`. Without seeds nothing of it runs."""

    seeds: Seeds
    compared: Annotated[
        list[PathName], Distinct
    ]  # variants of the pipeline; `make ablation` trains all of them
    model: ModelParams
    variants: dict[PathName, VariantParams]
    train_real: UntaughtParams
    train_binary: UntaughtParams

    @model_validator(mode="after")
    def _known_variants(self) -> FtbnnParams:
        if unknown := [name for name in self.compared if name not in self.variants]:
            raise ValueError(f"compared names {unknown}, which variants does not have")
        return self


class BenchmarkParams(_Section):
    """How latencies are measured."""

    repeats: Annotated[int, Field(ge=3)] = 30
    batch_size: Positive = 1
    threads: Positive = 1
    min_seconds: Annotated[float, Field(ge=0)] = 0.02  # of one timed sample


class EvaluateParams(_Section):
    batch_size: Positive = 64
    ten_crop: bool = False  # also the mean over crops of images of side data.resize


class ReportParams(_Section):
    tsne_samples: Annotated[int, Field(ge=10)] = 2000


# A checkpoint's stem, for example hybrid_train-0 or ftbnn_binary-relu-0.
NetworkName = Annotated[str, Field(pattern=r"^(hybrid|ftbnn)_[a-z]+-[a-z0-9_-]+$", max_length=80)]


class Params(_Section):
    """All of params.yaml."""

    profile: str
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    experts: Annotated[list[Annotated[int, Field(ge=1, le=64)]], Field(min_length=1), Distinct]
    workers: Positive = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"
    compile: bool = False  # fused loops by torch.compile: seconds to a minute at each start
    sync_batchnorm: bool = False  # BatchNorm over the batches of all workers; GPUs only
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 600.0
    data: DataParams
    prepare: PrepareParams = PrepareParams()
    model: ModelParams
    teacher: list[Literal["real"]] = []  # [real] adds the stage train_real, which distill needs
    train_real: TeacherParams | None = None
    train_one: TrainParams
    train_experts: TrainParams
    train_binary: TrainParams
    benchmark: BenchmarkParams = BenchmarkParams()
    evaluate: EvaluateParams = EvaluateParams()
    report: ReportParams = ReportParams()
    growth: GrowthParams  # no default: growth/dvc.yaml reads it
    hybrid: HybridParams
    ftbnn: FtbnnParams
    networks: Annotated[
        list[NetworkName], Distinct
    ]  # of the other methods, to be packed, evaluated and benchmarked

    @model_validator(mode="after")
    def _teacher_is_trained(self) -> Params:
        if self.teacher and self.train_real is None:
            raise ValueError("teacher: [real] needs the section train_real")
        for stage in ("train_one", "train_experts"):
            if self.train(stage).distill and not self.teacher:
                raise ValueError(f"{stage}.distill needs teacher: [real]")
        if self.train_real and not self.teacher:
            warnings.warn("train_real is ignored without teacher: [real]", stacklevel=2)
        return self

    @model_validator(mode="after")
    def _batches_split_evenly(self) -> Params:
        trained: dict[str, TrainParams] = {s: self.train(s) for s in self.training_stages}
        if self.hybrid.seeds:
            trained["hybrid.train"] = self.hybrid.train
        if self.ftbnn.seeds:
            trained["ftbnn.train_real"] = self.ftbnn.train_real
            trained["ftbnn.train_binary"] = self.ftbnn.train_binary
        for name, train in trained.items():
            if train.batch_size % self.workers:
                raise ValueError(f"{name}.batch_size must be a multiple of workers")
        return self

    @model_validator(mode="after")
    def _crops_have_room(self) -> Params:
        if self.evaluate.ten_crop and (self.data.resize or 0) <= self.data.image_size:
            raise ValueError("evaluate.ten_crop needs data.resize above data.image_size")
        return self

    @model_validator(mode="after")
    def _network_fits_the_images(self) -> Params:
        side, size = self.hybrid.network.side, self.data.image_size
        if self.hybrid.seeds and side not in (None, size):
            raise ValueError(
                f"hybrid.network is built for images of {side} px, data.image_size is {size}"
            )
        return self

    @model_validator(mode="after")
    def _networks_are_trained(self) -> Params:
        for name in self.networks:
            if name not in self.binary_networks:
                known = ", ".join(self.binary_networks) or "no network"
                raise ValueError(f"networks names {name!r}; the pipeline trains {known}")
        return self

    @model_validator(mode="after")
    def _batchnorm_can_be_shared(self) -> Params:
        if self.sync_batchnorm and self.workers < 2:
            raise ValueError("sync_batchnorm needs at least 2 workers")
        if self.sync_batchnorm and self.device == "cpu":
            raise ValueError("sync_batchnorm needs GPUs, not device: cpu")
        return self

    @property
    def training_stages(self) -> tuple[TrainingStage, ...]:
        """Those that run with these parameters, in order."""
        return TRAINING_STAGES if self.teacher else TRAINING_STAGES[1:]

    @property
    def binary_networks(self) -> list[str]:
        """Stems of the checkpoints with binary weights that the other methods make."""
        hybrid, ftbnn = self.hybrid, self.ftbnn
        versions = [f"compared-{version}" for version in hybrid.versions if version != "fprec"]
        found = [f"hybrid_{v}-{s}" for s in hybrid.seeds for v in ("fbin", "train", *versions)]
        return found + [f"ftbnn_binary-{v}-{s}" for v in ftbnn.compared for s in ftbnn.seeds]

    def train(self, stage: str) -> TrainParams:
        """The parameters of one training stage of EBConv's policy."""
        section = getattr(self, stage)
        if section is None:
            raise InputError(f"params.yaml: {stage}", "missing parameter", "Add it.")
        assert isinstance(section, TrainParams), stage
        return section


def load_params(path: str | Path = "params.yaml") -> Params:
    """Reads and checks a parameter file.

    Raises:
        InputError: no such file, not YAML, an unknown key or a value out of range; the text
            names the key, the value and what is allowed.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            path, f"cannot be read ({error.strerror})", "Choose one with `ebcore profile use NAME`."
        ) from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(path, f"is not YAML ({error})", "Mend the line it names.") from error
    return parse_params(content, path)


def parse_params(content: Any, source: str | Path) -> Params:
    """Checks parameters that were read from `source` (see `load_params`)."""
    if not isinstance(content, dict):
        raise InputError(source, "holds no mapping of parameters", "See params/ for examples.")
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "params"
        raise InputError(f"{source}: {key}", *_reason_and_remedy(first)) from error


def _reason_and_remedy(error: Any) -> tuple[str, str]:
    """Pydantic's finding as a reason and a remedy."""
    location, kind = error["loc"], error["type"]
    if kind == "extra_forbidden":
        allowed = ", ".join(_fields_beside(location))
        return f"unknown parameter (value {error['input']!r})", f"Allowed here: {allowed}."
    if kind == "missing":
        return "missing parameter", "Add it; params/ holds complete examples."
    message = error["msg"].removeprefix("Value error, ")
    if kind == "value_error" and isinstance(error["input"], dict):
        return message, "Change one of the two."
    return f"value {error['input']!r} is not allowed", f"{message}."


def _fields_beside(location: tuple[int | str, ...]) -> list[str]:
    section: Any = Params
    for part in location[:-1]:
        if get_origin(section) is dict:  # of named sections
            section = get_args(section)[1]
        else:
            section = section.model_fields[str(part)].annotation
        if isinstance(section, UnionType):  # section | None
            section = get_args(section)[0]
    return sorted(section.model_fields)
