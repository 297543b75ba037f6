"""The training loop: one training of a recipe, on one process of a group."""

from __future__ import annotations

import json
import time
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ebcore.data.loader import Batch, normalisation_of, open_split
from ebcore.data.manifest import load_manifest
from ebcore.files import atomic_write
from ebcore.models import EBResNet, Network
from ebcore.models.checkpoint import save_model
from ebcore.train.compilation import compiled
from ebcore.train.distill import Distillation
from ebcore.train.distributed import Group
from ebcore.train.draws import seed_draws
from ebcore.train.finite import check_finite
from ebcore.train.gates import GateTally
from ebcore.train.job import FINAL, RESULT, Job
from ebcore.train.log import RunLog
from ebcore.train.meter import Lap, Meter
from ebcore.train.mixup import mixup
from ebcore.train.precision import may_overflow, mixed_precision
from ebcore.train.schedule import learning_rate
from ebcore.train.signals import StopRequest
from ebcore.train.state import newest_state, restore_state, save_state, tidy_states
from ebcore.train.training import method_of
from ebcore.train.validate import validate
from ebcore.train.warner import Warner
from ebcore.workspace import BETON

_LOG_EVERY = 10  # steps


class Stopped(Exception):
    """Training left on request, after a checkpoint."""


class Trainer:
    """Trains a job's network to the end, from the newest state in its run directory.

    An interrupted run ends in the same bytes as an unbroken one: data order, augmentation and
    mixup are functions of (seed, epoch or step, sample), dropout's draws of (seed, step, rank), and
    everything else is in the state.
    """

    def __init__(self, job: Job, group: Group, stop: StopRequest) -> None:
        self.job, self.group, self.stop = job, group, stop
        self.train = job.train
        self.images, self.validation = self._open("train"), self._open("val")
        self.classes = len(self.images.classes)
        self.model = method_of(job.stage).start_model(job.training, self.classes)
        self.model.to(group.device)
        if job.params.sync_batchnorm:  # in place, with the same names
            nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        self.modules: dict[str, nn.Module] = {"model": self.model}  # what a state holds
        self.scored: Network = self.model  # what is validated and kept in the end
        if self.train.ema:
            self.average = AveragedModel(
                self.model, multi_avg_fn=get_ema_multi_avg_fn(self.train.ema), use_buffers=True
            )
            self.modules["average"] = self.average
            self.scored = cast(Network, self.average.module)
        self.scorer = compiled(self.scored, job.params.compile, group.device)
        self.distillation = None
        teacher = job.training.teacher
        if teacher and self.train.distill:
            assert isinstance(self.model, EBResNet)
            self.distillation = Distillation(self.model, teacher, group.device, self.train.distill)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), weight_decay=self.train.weight_decay, fused=True
        )
        self.autocast, self.scaler = mixed_precision(job.params.amp, group.device)
        self.progress: dict[str, Any] = {"epoch": 0, "batch": 0, "seconds": 0.0, "curve": []}
        self.step = 0
        # Loss, right answers and samples of this process in this epoch.
        self.sums = torch.zeros(3, dtype=torch.float64, device=group.device)
        self.gates = GateTally(self.model, training=True)
        self.scored_gates = GateTally(self.scored, training=False)
        self.meter = Meter()
        self.warner = Warner(self._say)

    def run(self) -> None:
        """Trains what is left; writes the network and its curve into the run directory.

        Raises:
            Stopped: a stop was asked for; the state is saved.
            InputError: a number became non-finite, or a file is bad.
        """
        resumed = self._restore()
        self.log = (
            RunLog(self.job.folder, self.step, self.progress["epoch"]) if self.group.leads else None
        )
        steps = self.images.batches_per_epoch * self.train.epochs
        self._record("start", steps=steps, resumed=resumed)
        self.model.train()
        self.replica: nn.Module = self.model
        if self.group.world > 1:
            # Else DDP lays its buckets out anew after the first step, and with them the order in
            # which three or more gradients are added: a resumed run would differ in the last bits.
            keep_order = self.group.world > 2
            self.replica = DistributedDataParallel(
                self.model, gradient_as_bucket_view=True, find_unused_parameters=keep_order
            )
        self.replica = compiled(self.replica, self.job.params.compile, self.group.device)
        self.saved_at = self.counted_at = time.monotonic()
        while self.progress["epoch"] < self.train.epochs:
            self._epoch(self.progress["epoch"])
        self._finish()
        self._record("end", steps=steps)

    def _epoch(self, epoch: int) -> None:
        for batch in self.meter.arriving(self.images.epoch(epoch, self.progress["batch"])):
            self._train_step(epoch, batch)
            self.meter.step_done(len(batch.images))
            self.progress["batch"] += 1
            self.step += 1
            self._between_steps()
        sums = [*self.sums.tolist(), *self.meter.lap("epoch")]
        loss, right, seen, *lap = self.group.total(sums)
        self.group.broadcast_buffers(self.model)
        if self.scored is not self.model:
            self.group.broadcast_buffers(self.scored)
        scores = validate(self.scorer, self.validation, self.group, self.autocast)
        row = {"train_loss": loss / seen, "train_top1": 100 * right / seen, **scores}
        row["lr"] = self._rate(self.step - 1)
        self.sums.zero_()
        self.progress |= {"epoch": epoch + 1, "batch": 0}
        self.progress["curve"].append({"epoch": epoch + 1, **row})
        pace = Lap(*lap)
        self._record("epoch", **row, **pace.values(self.group.world))
        self._say(
            f"epoch {epoch + 1}/{self.train.epochs}: loss {row['train_loss']:.4f}, "
            f"train {row['train_top1']:.2f} %, val {row['val_top1']:.2f} % top-1"
            + pace.told(self.group.world)
        )
        self.warner.check("waiting", pace.warning())
        self._report_gates()
        self._save()

    def _report_gates(self) -> None:
        """Logs what the gates chose in the epoch and starts the next one's count."""
        values: dict[str, float] = {}
        for split, tally in (("training", self.gates), ("validation", self.scored_gates)):
            use = tally.use(self.group.total(tally.take()))
            tally.put([])
            values |= use.values("gate" if split == "training" else "val_gate")
            self.warner.check(split, use.idle(split))
        if values:
            self._record("gates", **values)

    def _train_step(self, epoch: int, batch: Batch) -> None:
        for options in self.optimizer.param_groups:
            options["lr"] = self._rate(self.step)
        seed_draws(self.job.params.seed, self.step, self.group.rank)
        images, targets = mixup(
            batch.images,
            batch.labels,
            self.classes,
            alpha=self.train.mixup,
            seed=self.job.params.seed,
            step=self.step,
            rank=self.group.rank,
        )
        with self.autocast:
            logits = self.replica(images)
            loss = F.cross_entropy(logits, targets)
            if self.distillation is not None:
                loss = loss + self.distillation.loss(images, logits)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        check_finite(
            self.model,
            loss,
            self.group,
            step=self.step,
            epoch=epoch,
            images=images,
            indices=batch.indices,
            gradients=not may_overflow(self.scaler),
        )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.train.ema:
            self.average.update_parameters(self.model)
        self.loss = loss.detach()
        right = (logits.argmax(1) == batch.labels).sum()
        self.sums += torch.stack([self.loss * len(images), right, right.new_tensor(len(images))])

    def _between_steps(self) -> None:
        if self.step % _LOG_EVERY == 0 and self.group.leads:
            self._record(
                "step",
                loss=self.loss.item(),
                lr=self._rate(self.step - 1),
                **self.meter.lap("record").values(self.group.world),
                **_gpu_memory(self.group.device),
            )
        due = time.monotonic() - self.saved_at > self.job.params.checkpoint_seconds
        stop, due = self.group.any([bool(self.stop), due])
        if stop or due:
            self._save()
        if stop:
            raise Stopped

    def _save(self) -> None:
        """Rank 0 writes a state; all processes take part."""
        rows = self.group.gather(self.sums.tolist() + self.gates.take())
        self._count_time()
        progress = {**self.progress, "sums": rows, "scaler": self.scaler.state_dict()}
        if self.group.leads:
            save_state(self.job.folder, self.step, self.modules, self.optimizer, progress)
            self._record("checkpoint")
        self.saved_at = time.monotonic()

    def _restore(self) -> bool:
        """Rank 0 chooses the state, all load that one."""
        chosen, damaged = newest_state(self.job.folder) if self.group.leads else (0, [])
        for text in damaged:
            self._say(f"damaged checkpoint left out: {text}")
        if self.group.leads:
            tidy_states(self.job.folder, chosen)
        chosen = int(self.group.total([chosen])[0])
        if not chosen:
            return False
        progress = restore_state(self.job.folder, chosen, self.modules, self.optimizer)
        self.step = progress.pop("step")
        self.scaler.load_state_dict(progress.pop("scaler"))
        sums = progress.pop("sums")[self.group.rank]
        self.sums += self.sums.new_tensor(sums[:3])
        self.gates.put(sums[3:])
        self.progress = progress
        self._say(f"goes on from epoch {progress['epoch']}, step {self.step}")
        return True

    def _finish(self) -> None:
        if not self.group.leads:
            return
        self._count_time()
        result = {
            "curve": self.progress["curve"],
            "seconds": self.progress["seconds"],
            "images": self.step * self.train.batch_size,
        }
        with atomic_write(self.job.folder / RESULT) as file:
            json.dump(result, file)
        data = self.job.params.data
        mean, std = normalisation_of(load_manifest(BETON), data)
        # Nothing here changes from run to run: equal training gives an equal file.
        metadata = {
            "stage": self.job.stage,
            "classes": self.images.classes,
            "mean": list(mean),
            "std": list(std),
            "image_size": data.image_size,
            "resize": data.resize,
            "data_sha256": self.job.data_sha256,
            "fingerprint": self.job.fingerprint,
        }
        save_model(self.job.folder / FINAL, self.scored, metadata)

    def _open(self, split: Any) -> Any:
        params, group = self.job.params, self.group
        return open_split(
            BETON,
            split,
            params.data,
            batch_size=self.train.batch_size // group.world,
            seed=params.seed,
            rank=group.rank,
            world=group.world,
            device=group.device,
            threads=group.threads,
        )

    def _rate(self, step: int) -> float:
        """The learning rate of the step with this number, from 0."""
        return learning_rate(self.train, step / self.images.batches_per_epoch)

    def _count_time(self) -> None:
        now = time.monotonic()
        self.progress["seconds"] += now - self.counted_at
        self.counted_at = now

    def _record(self, event: str, **values: Any) -> None:
        if self.log is not None:
            self.log.write(event, self.step, self.progress["epoch"], **values)

    def _say(self, text: str) -> None:
        if self.group.leads:
            print(text, flush=True)


def _gpu_memory(device: torch.device) -> dict[str, float]:
    """The most that tensors have taken so far, MiB."""
    if device.type != "cuda":
        return {}
    return {"gpu_memory_mib": torch.cuda.max_memory_allocated(device) / 2**20}
