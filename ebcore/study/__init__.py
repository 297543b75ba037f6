"""What the growth study and the ablation share: trainings in turn, a page, an entry's options."""
