"""What the growth study and the ablation share: trainings in turn and an entry's options."""
