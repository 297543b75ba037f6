"""Accuracy over the whole validation set, counted exactly on any number of processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ebcore.data.loader import SplitLoader
from ebcore.train.distributed import Group


def validate(
    model: nn.Module, images: SplitLoader, group: Group, autocast: Any
) -> dict[str, float]:
    """{"val_loss", "val_top1", "val_top5"} over every image once; accuracies in percent."""
    was_training = model.training
    model.eval()
    sums = [0.0, 0.0, 0.0, 0.0]
    with torch.inference_mode(), autocast:
        for batch in images.epoch(0):
            logits = model(batch.images).float()
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices
            hits = best == batch.labels[:, None]
            sums[0] += F.cross_entropy(logits, batch.labels, reduction="sum").item()
            sums[1] += hits[:, 0].sum().item()
            sums[2] += hits.sum().item()
            sums[3] += len(batch.labels)
    model.train(was_training)
    loss, top1, top5, seen = group.total(sums)
    return {"val_loss": loss / seen, "val_top1": 100 * top1 / seen, "val_top5": 100 * top5 / seen}
